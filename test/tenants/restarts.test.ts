import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { IMAGE } from '#src/lab/docker.ts';
import { until } from '#src/sys/until.ts';
import { Random } from '../fuzz/random.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  newName,
  sharedTenants,
  twoOf,
  waitForNetwork,
} from '../support/docker-tenants.ts';
import { answered, waitForAnswer } from '../support/pings.ts';
import { assertViewsAgree, storedAddresses } from '../support/tenant-views.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * dockerd and flanneld end and start in any order (docker-driver.md §6 number 14):
 *
 *     store .190     h1 .191 flanneld, dockerd (both are killed)     h2 .192 flanneld, dockerd
 */
const cannot = cannotRunTenants();
const { debian, iptables } = dockerEngines();

/** Until dockerd answers with a dead plugin; 15 s for each network, endpoint and container, one after another. */
const DEAD_PLUGIN_MS = 120_000;

const waitForRunning = (host: TenantHost, container: string): Promise<true> =>
  until(() => host.isRunning(container), {
    what: `container ${container} on ${host.name}`,
    timeoutMs: 60_000,
    intervalMs: 200,
  });

const dockerdLog = async ({ host }: TenantHost): Promise<string> =>
  (await (await host.daemon('dockerd'))?.log()) ?? '';

for (const engine of [debian, iptables]) {
  describe(engine.called, () => {
    const skip = cannot || engine.skip;
    const tenants = sharedTenants(skip, { engines: [engine] });

    for (const how of ['SIGTERM', 'SIGKILL'] as const) {
      test(`dockerd after ${how}: containers that are to run always run again`, { skip }, async () => {
        const [one, two] = twoOf(tenants());
        const name = newName();
        await createTenant(tenants(), name, { subnet: '10.51.0.0/24' });
        const [fixed, any] = [`fixed-${name}`, `any-${name}`];
        await one.run(fixed, name, ['--restart', 'always', '--ip', '10.51.0.77']);
        await one.run(any, name, ['--restart', 'always']);
        const peer = await two.run(`peer-${name}`, name);
        await waitForAnswer(peer, '10.51.0.77');
        if (how === 'SIGTERM') await one.docker.restart();
        else {
          await one.docker.kill();
          await one.docker.startAgain();
        }
        for (const container of [fixed, any]) await waitForRunning(one, container);
        await waitForAnswer(peer, '10.51.0.77');
        const again = await one.attachment(any, name);
        await waitForAnswer(peer, again?.IPAddress ?? '');
        await assertViewsAgree(tenants());
        await one.remove(fixed, any);
        await assertViewsAgree(tenants());
      });
    }

    test('flanneld after SIGKILL, and after SIGTERM: no packet is lost', { skip }, async () => {
      const [one, two] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.52.0.0/24' });
      const a = await one.run(`a-${name}`, name);
      const b = await two.run(`b-${name}`, name);
      await waitForAnswer(a, b.address);
      const { lost } = await duringTraffic(a, b.address, async () => {
        for (const host of [one, two]) {
          await host.killFlanneld();
          await host.startFlanneld();
          await host.stopFlanneld();
          await host.startFlanneld();
        }
      });
      assert.equal(lost, 0);
      const c = await one.run(`c-${name}`, name);
      await waitForAnswer(b, c.address);
      await assertViewsAgree(tenants());
    });

    // What a host frees after a minute is the same with each engine.
    if (engine !== debian) return;

    test('what ended while flanneld was away is found when it returns', { skip }, async () => {
      const [one] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.53.0.0/24' });
      const container = await one.run(`lost-${name}`, name);
      await one.killFlanneld();
      // Docker waits for the plugin, and then lets go without it.
      await one.attempt(['rm', '-f', `lost-${name}`]);
      await one.startFlanneld();
      await until(
        async () => {
          const found = (await storedAddresses(tenants())).find(
            (it) => it.tenant === name && it.ip === container.address,
          );
          return found?.state !== 'published';
        },
        // A host frees what Docker does not know after a minute.
        { what: `release of ${container.address}`, timeoutMs: 240_000, intervalMs: 500 },
      );
      await assertViewsAgree(tenants());
    });

    test('a flanneld that is killed in the middle of calls leaves nothing behind', { skip }, async () => {
      const [one] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.54.0.0/24' });
      const random = new Random(54);
      for (let round = 0; round < 8; round++) {
        const container = `round${round}-${name}`;
        const words = ['run', '-d', '--name', container, '--stop-signal', 'SIGKILL', '--network', name];
        const running = one.attempt([...words, IMAGE, 'sleep', '100000']);
        await delay(random.int(700));
        await one.killFlanneld();
        await one.startFlanneld();
        await running;
        await one.remove(container);
      }
      await assertViewsAgree(tenants(), 240_000);
      await until(
        async () =>
          (await storedAddresses(tenants())).every((it) => it.tenant !== name || it.state === 'released'),
        { what: 'release of every address', timeoutMs: 240_000, intervalMs: 500 },
      );
      const last = await one.run(`last-${name}`, name);
      assert.match(last.address, /^10\.54\.0\./);
    });
  });
}

describe('live-restore', () => {
  const tenants = sharedTenants(cannot, { dockerConfig: { 'live-restore': true } });

  test('containers go on without dockerd, and are let go later', { skip: cannot }, async () => {
    const [one, two] = twoOf(tenants());
    const name = newName();
    await createTenant(tenants(), name, { subnet: '10.55.0.0/24' });
    const a = await one.run('alive', name);
    const b = await two.run('peer', name);
    await waitForAnswer(a, b.address);
    const { lost } = await duringTraffic(b, a.address, async () => {
      await one.docker.kill();
      await one.killFlanneld();
      await one.startFlanneld();
      await one.docker.startAgain();
    });
    assert.equal(lost, 0);
    await assertViewsAgree(tenants());
    await one.remove('alive');
    await assertViewsAgree(tenants());
    assert.equal(await answered(b, a.address, 1), 0);
  });
});

describe('a start without flanneld', () => {
  const tenants = sharedTenants(cannot);

  test('dockerd comes up, and its containers when flanneld is there', { skip: cannot }, async () => {
    const [one, two] = twoOf(tenants());
    const name = newName();
    await createTenant(tenants(), name, { subnet: '10.56.0.0/24' });
    await one.run('waits', name, ['--restart', 'always', '--ip', '10.56.0.9']);
    const peer = await two.run('peer', name);
    await one.stopFlanneld();
    await one.docker.kill();
    const before = (await dockerdLog(one)).length;
    const started = one.docker.startAgain();
    await until(
      async () => /nable to (connect to|locate) plugin/.test((await dockerdLog(one)).slice(before)),
      {
        what: 'dockerd that waits for its plugin',
        timeoutMs: 30_000,
      },
    );
    await one.startFlanneld();
    await started;
    await until(async () => (await one.attempt(['ps'])).code === 0, {
      what: 'answer of dockerd',
      timeoutMs: DEAD_PLUGIN_MS,
    });
    if (!(await one.isRunning('waits'))) await one.must(['start', 'waits']);
    await waitForNetwork(one, name);
    await waitForAnswer(peer, '10.56.0.9');
    await assertViewsAgree(tenants());
  });
});
