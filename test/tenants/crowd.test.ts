import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { IMAGE } from '#src/lab/docker.ts';
import { until } from '#src/sys/until.ts';
import { Random } from '../fuzz/random.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import { cannotRunTenants, createTenant, newName, tenantHosts, twoOf } from '../support/docker-tenants.ts';
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

/** Of a start, while its dockerd has many. */
const CALL_MS = 60_000;

/** Does something for many containers, some at once. What fails is left for the next round. */
async function forEach(names: readonly string[], act: (name: string) => Promise<unknown>): Promise<void> {
  const left = [...names];
  const work = async (): Promise<void> => {
    for (let name = left.shift(); name !== undefined; name = left.shift()) await act(name).catch(() => {});
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
}

/** As `docker create`. */
async function create({ docker, name: host }: TenantHost, network: string, name: string): Promise<void> {
  const container = { Image: IMAGE, Cmd: ['sleep', '100000'], StopSignal: 'SIGKILL' };
  const body = JSON.stringify({ ...container, HostConfig: { NetworkMode: network } });
  const path = `/containers/create?name=${name}`;
  const answer = await docker.call({ method: 'POST', path, body }, CALL_MS);
  assert.equal(answer.status, 201, `${name} on ${host}: ${answer.body}`);
}

/** As `docker start`: what Docker says against it, and nothing once the container runs. */
async function start({ docker }: TenantHost, name: string): Promise<string> {
  const answer = await docker.call({ method: 'POST', path: `/containers/${name}/start` }, CALL_MS);
  return answer.status === 204 || answer.status === 304 ? '' : answer.body;
}

/** One that is killed refuses all that are left at once, and its kill would be the last. */
const waitForDocker = ({ docker, name }: TenantHost): Promise<unknown> =>
  until(() => docker.look('/info').catch(() => undefined), {
    what: `answer of Docker on ${name}`,
    timeoutMs: 60_000,
    intervalMs: 200,
  });

/**
 * A dockerd that is killed may leave a task in containerd under the container's ID, and can't start that container any
 * more ("already exists"): its user makes it again.
 */
async function startOrMake(host: TenantHost, network: string, name: string): Promise<void> {
  if ((await start(host, name).catch(String)) === '') return;
  await host.remove(name).catch(() => {});
  await create(host, network, name);
  await start(host, name);
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
    const failures: unknown[] = [];
    await Promise.all(
      hosts.map((host) =>
        forEach(names, (name) => create(host, network, name).catch((error) => failures.push(error))),
      ),
    );
    assert.deepEqual(failures, []);

    let over = false;
    const starts = Promise.all(
      hosts.map((host) => forEach(names, (name) => start(host, name).catch(() => waitForDocker(host)))),
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
        hosts.map((host, n) => forEach(missing[n] ?? [], (name) => startOrMake(host, network, name))),
      );
    }
    for (const host of hosts) {
      const running = await runningOn(host);
      const missing = names.find((name) => !running.has(name));
      if (missing === undefined) continue;
      const refusal = await start(host, missing);
      assert.fail(`${host.name} has ${running.size} of ${COUNT / 2}; ${missing}: ${refusal}`);
    }
    assert.equal(await assertViewsAgree(tenants, 120_000), COUNT);
    const [first, last] = [await one.docker.container('c0'), await two.docker.container(`c${COUNT / 2 - 1}`)];
    assert.ok(first && last);
    await waitForAnswer(first, last.address);

    await Promise.all(hosts.map((host) => forEach(names, (name) => host.remove(name))));
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
