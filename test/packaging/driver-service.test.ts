import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request } from 'node:http';
import { type TestContext, test } from 'node:test';
import { parseIp, parsePrefix4 } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';
import { formatTenant } from '#src/tenant/tenant-codec.ts';
import { cannotRunSystemd, STRICT, SystemdHost } from '../support/systemd-host.ts';

/*
 * flanneld.service with Docker's driver, under a real systemd and in its sandbox. The registry does not answer; what the
 * host has of tenants comes from the driver's own record.
 *
 *     systemd (PID 1) ─┬─ weft-namespace.service   mounts /run/netns/weft, for all
 *                      └─ flanneld.service         a mount namespace of its own: br-70001, vx-70001, p…
 */
const skip = cannotRunSystemd();
const NETWORK = 'a'.repeat(64);
const ENDPOINT = 'b'.repeat(64);

function bookOf(): string {
  const [prefix, gateway] = [parsePrefix4('10.5.0.0/24'), parseIp('10.5.0.1')];
  assert.ok(prefix !== undefined && typeof gateway === 'number');
  const tenant = {
    name: 'blue',
    vni: 70_001,
    internal: false,
    subnets: { v4: { prefix, gateway, auxiliary: {} } },
  };
  const endpoint = {
    networkId: NETWORK,
    tenant: 'blue',
    mac: '02:42:0a:05:00:0b',
    addresses: ['10.5.0.11'],
    isActive: true,
    names: [],
    since: 0,
  };
  return JSON.stringify({
    networks: { [NETWORK]: 'blue' },
    tenants: { blue: formatTenant(tenant) },
    endpoints: { [ENDPOINT]: endpoint },
    addresses: { blue: { '10.5.0.11': { since: 0, isMoved: false, isReleasing: false } } },
  });
}

function start(t: TestContext, driver: 'on' | 'auto', units: readonly string[]): Promise<SystemdHost> {
  const flags = `--etcd-endpoints=http://192.0.2.9:2379 --docker-driver=${driver} --docker-host=unix:///run/docker.sock`;
  return SystemdHost.start(t, {
    units: ['flanneld.service', ...units],
    // Docker's options come from a subnet, which there is none of here.
    more: {
      'flanneld.service.d/test.conf': `${STRICT}ExecStartPost=\n`,
      'weft-namespace.service.d/test.conf': STRICT,
    },
    etc: { 'weft/flanneld.conf': `FLANNELD_OPTIONS=${flags}\n` },
    state: { 'weft/docker.json': bookOf() },
  });
}

const WITH_DRIVER = ['flanneld.service.d/weft-driver.conf', 'weft-namespace.service'];
/** Of the container's pair, where no container is. */
const FAR_END = `w${'b'.repeat(13)}`;
const DEVICES = ['br-70001', `p${'b'.repeat(13)}`, 'vx-70001'];

/** Names and numbers of the tenants' devices: one that was made again has another number. */
function devices(host: SystemdHost): Map<string, number> {
  const { code, stdout } = host.run(['ip', '-n', 'weft', '-j', 'link']);
  const links = code === 0 ? (JSON.parse(stdout) as { ifname: string; ifindex: number }[]) : [];
  return new Map(links.filter(({ ifname }) => ifname !== 'lo').map((link) => [link.ifname, link.ifindex]));
}

async function untilServed(host: SystemdHost): Promise<Map<string, number>> {
  await until(() => [...devices(host).keys()].sort().join() === DEVICES.join(), {
    what: 'devices of the tenant',
    timeoutMs: 60_000,
    intervalMs: 100,
  });
  return devices(host);
}

const ANSWER = '{"Implements":["NetworkDriver","IpamDriver"]}';

/** What the driver answers to dockerd's first call. */
async function call(host: SystemdHost): Promise<string> {
  const socketPath = host.path('/run/docker/plugins/weft.sock');
  const [response] = await once(
    request({ socketPath, agent: false, path: '/Plugin.Activate', method: 'POST' }).end(),
    'response',
  );
  return Buffer.concat(await response.toArray()).toString();
}

async function untilRestarted(host: SystemdHost, former: string): Promise<void> {
  await until(() => ![former, '0'].includes(host.mainPid('flanneld')), {
    what: 'restart',
    timeoutMs: 60_000,
    intervalMs: 100,
  });
}

test('in the sandbox of its unit flanneld serves the host’s namespace, which survives it', {
  skip,
}, async (t) => {
  const host = await start(t, 'on', WITH_DRIVER);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  const before = await untilServed(host);
  const result = ['systemctl', 'show', '--property=Result', '--value', 'weft-namespace'];
  assert.equal(host.must(result), 'success', host.log('weft-namespace.service'));
  host.must(['systemctl', 'stop', 'flanneld']);
  assert.deepEqual(devices(host), before);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  await until(() => host.log('flanneld.service').split(' starts with ').length === 3, {
    what: 'start',
    timeoutMs: 60_000,
  });
  const former = host.mainPid('flanneld');
  host.must(['kill', '-9', former]);
  await untilRestarted(host, former);
  // The file of the killed one's socket is there, and nobody listens on it.
  const answers = () => call(host).catch(() => undefined);
  assert.equal(await until(answers, { what: 'driver', timeoutMs: 60_000 }), ANSWER);
  assert.deepEqual(devices(host), before);
  assert.doesNotMatch(host.log('flanneld.service'), /^E|^W.*names/m);
});

test('systemd’s socket starts flanneld, and calls wait in it while there is none', { skip }, async (t) => {
  const host = await start(t, 'auto', [...WITH_DRIVER, 'weft-docker.socket']);
  host.must(['systemctl', 'start', 'weft-docker.socket']);
  // The file of a process is not there before it is; this one is.
  assert.equal(await call(host), ANSWER);
  const before = await untilServed(host);
  const former = host.mainPid('flanneld');
  host.must(['kill', '-9', former]);
  await until(() => host.mainPid('flanneld') !== former, { what: 'end of flanneld' });
  assert.equal(await call(host), ANSWER);
  host.must(['systemctl', 'stop', 'flanneld']);
  assert.equal(await call(host), ANSWER);
  assert.deepEqual(devices(host), before);
});

test('a name that was taken away is a line in the log, and comes back with the next start', {
  skip,
}, async (t) => {
  const host = await start(t, 'on', WITH_DRIVER);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  const before = await untilServed(host);
  host.must(['ip', 'netns', 'del', 'weft']);
  await until(() => /^E.*restart flanneld: it makes all again/m.test(host.log('flanneld.service')), {
    what: 'line in the log',
    timeoutMs: 60_000,
  });
  // The containers are still connected: the process holds the namespace.
  assert.equal(host.run(['ip', 'link', 'show', FAR_END]).code, 0);
  host.must(['systemctl', 'restart', '--no-block', 'flanneld']);
  const after = await untilServed(host);
  assert.deepEqual([...after.keys()].sort(), [...before.keys()].sort());
  assert.equal(host.run(['ip', 'link', 'show', FAR_END]).code, 0);
});

test('without the drop-in the driver is not served, in one line', { skip }, async (t) => {
  const host = await start(t, 'auto', []);
  host.must(['touch', '/run/docker.sock']);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  await until(() => host.log('flanneld.service').includes("Docker's driver is not served"), {
    what: 'line in the log',
    timeoutMs: 60_000,
  });
  const said = host.log('flanneld.service').match(/.*netns|.*network namespace.*/g);
  assert.equal(said?.length, 1, String(said));
  assert.match(said[0] ?? '', /^I.*systemctl enable weft-docker\.socket/);
});

test('a unit that may not enter namespaces does not serve the driver either', { skip }, async (t) => {
  const host = await start(t, 'auto', ['weft-namespace.service']);
  host.must(['systemctl', 'start', 'weft-namespace']);
  host.must(['touch', '/run/docker.sock']);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  await until(() => host.log('flanneld.service').includes("Docker's driver is not served"), {
    what: 'line in the log',
    timeoutMs: 60_000,
  });
  assert.match(host.log('flanneld.service'), /cannot enter the network namespace \/run\/netns\/weft/);
});
