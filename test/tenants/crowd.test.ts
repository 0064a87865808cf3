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
const skip = cannotRunTenants('xargs');
const COUNT = Number(process.env.WEFT_CROWD ?? 200);
const SEEDS = (process.env.WEFT_CROWD_SEEDS ?? '11').split(',').map(Number);
/** Kills in a round. */
const KILLS = 6;
const LONGEST_PAUSE_MS = 6_000;
/** Starts of dockerd's clients at once on one host. */
const AT_ONCE = 25;
/** Rounds in which what did not start is started again. */
const ROUNDS = 10;

/** `docker WORDS NAME` for many containers; failures are left for the next round. */
const forEach = async (
  host: TenantHost,
  words: readonly string[],
  names: readonly string[],
): Promise<void> => {
  const argv = ['xargs', '-P', String(AT_ONCE), '-n', '1', 'timeout', '60', 'docker', ...words];
  await host.host.run(argv, { stdin: names.join('\n'), timeoutMs: 240_000 });
};

/**
 * A dockerd that is killed may leave a task in containerd under the container's ID, and can't start that container any
 * more ("already exists"): its user makes it again.
 */
async function startOrMake(host: TenantHost, network: string, names: readonly string[]): Promise<void> {
  const options = `--stop-signal SIGKILL --network ${network} --name "$1" ${IMAGE} sleep 100000`;
  const script = `timeout 60 docker start "$1" || { docker rm -f "$1"; timeout 60 docker run -d ${options}; }`;
  // Without -r it would run once without a name.
  const argv = ['xargs', '-r', '-P', String(AT_ONCE), '-n', '1', 'sh', '-c', script, 'sh'];
  await host.host.run(argv, { stdin: names.join('\n'), timeoutMs: 240_000 });
}

const runningOn = async (host: TenantHost): Promise<string[]> =>
  (await host.must(['ps', '--format', '{{.Names}}'])).split('\n').filter(Boolean);

for (const seed of SEEDS) {
  test(`${COUNT} containers at once, and ${KILLS} kills (seed ${seed})`, { skip }, async (t) => {
    const random = new Random(seed);
    const tenants = await tenantHosts(t);
    const [one, two] = twoOf(tenants);
    const network = newName();
    await createTenant(tenants, network, { subnet: '10.110.0.0/23' });
    const names = Array.from({ length: COUNT / 2 }, (_, n) => `c${n}`);
    await Promise.all(
      [one, two].map((host) => {
        const words = ['create', '--stop-signal', 'SIGKILL', '--network', network];
        // xargs puts the name last, where the image and its command belong.
        const create = `timeout 60 docker ${words.join(' ')} --name "$1" ${IMAGE} sleep 100000`;
        const argv = ['xargs', '-P', String(AT_ONCE), '-n', '1', 'sh', '-c', create, 'sh'];
        return host.host.must(argv, { stdin: names.join('\n'), timeoutMs: 240_000 });
      }),
    );

    let over = false;
    const starts = Promise.all([one, two].map((host) => forEach(host, ['start'], names))).then(() => {
      over = true;
    });
    for (let kill = 0; kill < KILLS && !over; kill++) {
      await delay(random.int(LONGEST_PAUSE_MS));
      const host = random.pick([one, two]);
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
        [one, two].map(async (host) => {
          const running = new Set(await runningOn(host));
          return names.filter((name) => !running.has(name));
        }),
      );
      if (missing.every((it) => it.length === 0)) break;
      await Promise.all([one, two].map((host, n) => startOrMake(host, network, missing[n] ?? [])));
    }
    for (const host of [one, two]) {
      const running = new Set(await runningOn(host));
      const missing = names.find((name) => !running.has(name));
      if (missing === undefined) continue;
      const { stderr } = await host.attempt(['start', missing]);
      assert.fail(`${host.name} has ${running.size} of ${COUNT / 2}; ${missing}: ${stderr}`);
    }
    assert.equal(await assertViewsAgree(tenants, 120_000), COUNT);
    const [first, last] = [await one.docker.container('c0'), await two.docker.container(`c${COUNT / 2 - 1}`)];
    assert.ok(first && last);
    await waitForAnswer(first, last.address);

    await Promise.all([one, two].map((host) => forEach(host, ['rm', '-f'], names)));
    assert.equal(await assertViewsAgree(tenants, 120_000), 0);
    await until(async () => (await storedAddresses(tenants)).every(({ state }) => state === 'released'), {
      what: 'release of every address',
      timeoutMs: 120_000,
      intervalMs: 500,
    });
    for (const host of [one, two]) {
      await until(async () => !(await host.tenantDevices()).some((name) => /^p[0-9a-f]{13}$/.test(name)), {
        what: `end of the ports on ${host.name}`,
        timeoutMs: 60_000,
        intervalMs: 500,
      });
    }
  });
}
