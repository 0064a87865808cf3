import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '#src/sys/until.ts';
import { Random } from '../fuzz/random.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import { cannotRunTenants, createTenant, newName, tenantHosts, twoOf } from '../support/docker-tenants.ts';
import { create, forEach, start } from '../support/many-containers.ts';
import { waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree, storedAddresses } from '../support/tenant-views.ts';

/*
 * 200 containers start at once while everything that they need is killed (docker-driver.md §6 number 11):
 *
 *     store .190 (killed)     h1 .191 flanneld, dockerd (killed), 100 containers     h2 .192: the same
 *
 * Whatever a seed chooses, Docker and the store have the same in the end. `WEFT_CROWD_SEEDS=1,2,3` tries these.
 */
const skip = cannotRunTenants();
const COUNT = Number(process.env.WEFT_CROWD ?? 200);
const SEEDS = (process.env.WEFT_CROWD_SEEDS ?? '11').split(',').map(Number);
/** Kills in a round. */
const KILLS = 6;
const LONGEST_PAUSE_MS = 6_000;
/** Of containers, on one host. */
const AT_ONCE = 25;
/** Rounds in which what did not start is started again. */
const ROUNDS = 10;

/** One that is killed refuses all that are left at once, and its kill would be the last. The next one ends its containers first. */
const waitForDocker = ({ docker, name }: TenantHost): Promise<unknown> =>
  until(() => docker.look('/info').catch(() => undefined), {
    what: `answer of Docker on ${name}`,
    timeoutMs: 180_000,
    intervalMs: 200,
  });

/**
 * A dockerd that is killed may leave a task in containerd under the container's ID, and can't start that container any
 * more ("already exists"): its user makes it again.
 */
async function startOrMake(host: TenantHost, network: string, name: string): Promise<void> {
  const failure = await start(host.docker, name).catch((error: unknown) => error);
  if (failure === undefined) return;
  await host.remove(name).catch(() => {});
  await create(host.docker, name, network);
  await start(host.docker, name);
}

async function runningOn({ docker }: TenantHost): Promise<Set<string>> {
  const listed = (await docker.look('/containers/json')) as { Names: string[] }[];
  return new Set(listed.flatMap(({ Names }) => Names.map((name) => name.slice(1))));
}

for (const seed of SEEDS) {
  test(`${COUNT} containers at once, and ${KILLS} kills (seed ${seed})`, { skip }, async (t) => {
    const random = new Random(seed);
    const tenants = await tenantHosts(t);
    const [one, two] = twoOf(tenants);
    const network = newName();
    await createTenant(tenants, network, { subnet: '10.110.0.0/23' });
    const names = Array.from({ length: COUNT / 2 }, (_, n) => `c${n}`);
    const hosts = [one, two] as const;
    await Promise.all(
      hosts.map(({ docker }) => forEach(names, AT_ONCE, (name) => create(docker, name, network))),
    );

    let over = false;
    const starts = Promise.all(
      hosts.map((host) =>
        forEach(names, AT_ONCE, (name) => start(host.docker, name).catch(() => waitForDocker(host))),
      ),
    ).then(() => {
      over = true;
    });
    for (let kill = 0; kill < KILLS && !over; kill++) {
      await delay(random.int(LONGEST_PAUSE_MS));
      const host = random.pick(hosts);
      await random.pick([
        async () => {
          await host.killFlanneld();
          await host.startFlanneld();
        },
        async () => {
          await host.docker.kill();
          await host.docker.startAgain();
        },
        async () => {
          for (const member of tenants.store.members) await member.kill();
          for (const member of tenants.store.members) await member.start();
          await tenants.store.ready();
        },
      ])();
    }
    await starts;

    for (let round = 0; round < ROUNDS; round++) {
      const missing = await Promise.all(
        hosts.map(async (host) => {
          const running = await runningOn(host);
          return names.filter((name) => !running.has(name));
        }),
      );
      if (missing.every((it) => it.length === 0)) break;
      await Promise.all(
        hosts.map((host, n) =>
          forEach(missing[n] ?? [], AT_ONCE, (name) => startOrMake(host, network, name).catch(() => {})),
        ),
      );
    }
    for (const host of hosts) {
      const running = await runningOn(host);
      const missing = names.find((name) => !running.has(name));
      if (missing === undefined) continue;
      const failure = await start(host.docker, missing).catch(String);
      assert.fail(`${host.name} has ${running.size} of ${COUNT / 2}; ${missing}: ${failure}`);
    }
    assert.equal(await assertViewsAgree(tenants, 120_000), COUNT);
    const [first, last] = [await one.docker.container('c0'), await two.docker.container(`c${COUNT / 2 - 1}`)];
    assert.ok(first && last);
    await waitForAnswer(first, last.address);

    await Promise.all(hosts.map((host) => forEach(names, AT_ONCE, (name) => host.remove(name))));
    assert.equal(await assertViewsAgree(tenants, 120_000), 0);
    await until(async () => (await storedAddresses(tenants)).every(({ state }) => state === 'released'), {
      what: 'release of every address',
      timeoutMs: 120_000,
      intervalMs: 500,
    });
    for (const host of hosts) {
      await until(async () => !(await host.tenantDevices()).some((name) => /^p[0-9a-f]{13}$/.test(name)), {
        what: `end of the ports on ${host.name}`,
        timeoutMs: 60_000,
        intervalMs: 500,
      });
    }
  });
}
