import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PASSED_NAME, PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import { cannotRunTenants, createTenant, newName, sharedTenants, twoOf } from '../support/docker-tenants.ts';
import { FLANNELD } from '../support/flanneld.ts';
import { waitForAnswer } from '../support/pings.ts';

/*
 * dockerd starts before flanneld, as after a reboot with a slow registry (docker-driver.md §2.2 number 1):
 *
 *     store .190     h1 .191 the socket of systemd, dockerd, and flanneld at last     h2 .192 flanneld, dockerd
 *
 * Seen with engines 20.10 and 29: with the socket, dockerd's API and the container are there a second after flanneld,
 * however late that is. Without it dockerd tries for 15 s in each call, and then leaves the container stopped.
 */
const ACTIVATE = 'systemd-socket-activate';
const cannot = cannotRunTenants(ACTIVATE);
const { debian, iptables } = dockerEngines();
const GO = '/run/flanneld-may-start';
/** What dockerd bears of a driver that nobody serves. */
const PATIENCE_MS = 15_000;

/** Holds the socket, as weft-docker.socket does; a call makes flanneld start, which then waits for a file. */
async function holdSocket({ host, flags }: TenantHost): Promise<void> {
  await host.must(['rm', '-f', GO, PLUGIN_SOCKET]);
  const late = ['sh', '-c', `until [ -e ${GO} ]; do sleep 0.1; done; exec "$@"`, 'sh', FLANNELD, ...flags];
  await host.start('flanneld', [ACTIVATE, `--listen=${PLUGIN_SOCKET}`, `--fdname=${PASSED_NAME}`, ...late]);
  await until(async () => (await host.run(['test', '-S', PLUGIN_SOCKET])).code === 0, { what: 'socket' });
}

/** Milliseconds until a container of a dockerd that is starting runs. */
async function untilUp(host: TenantHost, starting: Promise<void>, container: string): Promise<number> {
  const began = performance.now();
  await starting;
  await until(() => host.isRunning(container), { what: container, timeoutMs: 60_000, intervalMs: 100 });
  return performance.now() - began;
}

for (const engine of [debian, iptables]) {
  describe(engine.called, () => {
    const skip = cannot || engine.skip;
    const tenants = sharedTenants(skip, { engines: [engine] });

    test('calls wait in the socket of systemd until flanneld runs, longer than Docker would', {
      skip,
    }, async (t) => {
      const [one, two] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.71.0.0/24' });
      await one.run('early71', name, ['--restart', 'always', '--ip', '10.71.0.10']);
      const peer = await two.run('peer71', name);
      await one.docker.daemon.stop(60_000);
      await one.stopFlanneld();
      await holdSocket(one);

      const starting = one.docker.startAgain();
      starting.catch(() => {});
      const held = await one.host.daemon('flanneld');
      // It has been called: dockerd waits.
      await until(async () => /Communication attempt on fd/.test((await held?.log()) ?? ''), {
        what: 'first call',
        timeoutMs: 30_000,
      });
      const patience = performance.now() + PATIENCE_MS + 1_000;
      await until(() => performance.now() > patience, { what: 'Docker’s patience', timeoutMs: 30_000 });
      assert.doesNotMatch(
        (await (await one.host.daemon('dockerd'))?.log()) ?? '',
        /Unable to locate plugin|unable to retry/i,
      );
      await one.host.must(['touch', GO]);
      const ms = await untilUp(one, starting, 'early71');
      t.diagnostic(`the container runs ${(ms / 1_000).toFixed(1)} s after flanneld was let go`);
      await waitForAnswer(peer, '10.71.0.10');
      await one.remove('early71');
      await two.remove('peer71');
    });

    test('without that socket flanneld has 15 s', { skip }, async (t) => {
      const [one, two] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.72.0.0/24' });
      await one.run('early72', name, ['--restart', 'always', '--ip', '10.72.0.10']);
      const peer = await two.run('peer72', name);
      await one.docker.daemon.stop(60_000);
      await one.stopFlanneld();
      await one.host.must(['rm', '-f', PLUGIN_SOCKET]);

      const log = async () => (await (await one.host.daemon('dockerd'))?.log()) ?? '';
      const before = (await log()).length;
      const starting = one.docker.startAgain();
      starting.catch(() => {});
      await until(async () => /[Uu]nable to locate plugin/.test((await log()).slice(before)), {
        what: 'complaint of dockerd',
        timeoutMs: 30_000,
        intervalMs: 50,
      });
      await one.startFlanneld();
      const ms = await untilUp(one, starting, 'early72');
      t.diagnostic(`the container runs ${(ms / 1_000).toFixed(1)} s after flanneld`);
      await waitForAnswer(peer, '10.72.0.10');
      await one.remove('early72');
      await two.remove('peer72');
    });

    test('a call that is under way is answered before flanneld ends', { skip }, async () => {
      const [one, two] = twoOf(tenants());
      const name = newName();
      await createTenant(tenants(), name, { subnet: '10.73.0.0/24' });
      // The network is in use: what is asked for next is known, and only the write is waited for.
      await one.run('first73', name, ['--ip', '10.73.0.10']);
      const peer = await two.run('peer73', name, ['--ip', '10.73.0.11']);
      const [server] = tenants().store.members;
      assert.ok(server);
      // What waits in the registry's socket.
      const asked = async () => {
        const said = await server.host.must(['ss', '-Htn', 'sport', '=', ':2379', 'dst', one.address]);
        return said.split('\n').some((line) => Number(line.split(/\s+/)[1]) > 0);
      };
      await server.freeze();
      const running = one.run('second73', name, ['--ip', '10.73.0.77']);
      running.catch(() => {});
      await until(asked, { what: 'question to the registry', timeoutMs: 20_000 });
      const stopping = one.stopFlanneld();
      await server.thaw();
      await stopping;
      await one.startFlanneld();
      const second = await running;
      assert.equal(second.address, '10.73.0.77');
      await waitForAnswer(peer, second.address);
      await one.remove('first73', 'second73');
      await two.remove('peer73');
    });
  });
}
