import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { IpRecord } from '#src/lab/machine.ts';
import { systemClock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';
import { startDriver } from '../support/docker-tenant-host.ts';
import { cannotRunTenants } from '../support/docker-tenants.ts';
import type { CallReport } from '../support/echo-process.ts';
import { inRepository, PREFIX, WEFT } from '../support/flanneld.ts';
import { answered } from '../support/pings.ts';
import { makeNamespace, moveIn, type PluggedEndpoint, PluginDocker } from '../support/plugin-docker.ts';
import { echoesAt } from '../support/tenant-frames.ts';
import { testLab, wholeFile } from '../support/test-lab.ts';

/*
 * A workload that moves with its sockets from host to host, as a virtual machine or a restored process does
 * (docker-driver.md §3.5). It is a network namespace with an echo server in it; this test is the Docker of all hosts:
 *
 *                  workload 10.97.0.50
 *            eth0 ┌─────────┴─────────┐ eth1, from the switch on
 *     h1 .191 ────┘  near        h2 .192          h3 .193 ── far
 */
const skip = cannotRunTenants('ss');

const NETWORK = 'blue';
const SUBNET = '10.97.0.0/24';
const IP = '10.97.0.50';
const MOVING_MS = 6_000;
const LATE_MS = 500;

interface Place {
  readonly host: Host;
  readonly docker: PluginDocker;
  readonly flanneld: Daemon;
}

interface Scene {
  readonly places: readonly [Place, Place, Place];
  readonly workload: Container;
  readonly near: Container;
  readonly far: Container;
  readonly store: Etcd;
}

let scene: Scene | undefined;
/** By the host that it is plugged into; and the number of its devices so far. */
let plugged: PluggedEndpoint | undefined;
let devices = 0;

wholeFile(skip, async (owner) => {
  const lab = await testLab(owner, { hosts: 3 });
  const store = await Etcd.start(lab);
  const places = await Promise.all(
    lab.hosts.map(async (host) => {
      const flanneld = await startDriver(host, [
        `--etcd-endpoints=${store.endpoints.join(',')}`,
        `--etcd-prefix=${PREFIX}`,
        `--iface=${host.address}`,
        '--watch-networks',
        '--docker-driver=on',
        // Nobody serves it: who joins is published at once.
        '--docker-host=unix:///run/nobody.sock',
        '--state-dir=/var/lib/weft',
      ]);
      const docker = new PluginDocker(host, { network: NETWORK });
      await docker.createNetwork(NETWORK, SUBNET);
      return { host, docker, flanneld };
    }),
  );
  const [one, two, three] = places;
  assert.ok(one && two && three);
  const run = async ({ host, docker }: Place, name: string, ip: string): Promise<Container> => {
    const container = await makeNamespace(host, name, ip);
    const endpoint = await docker.createEndpoint(ip);
    await moveIn(container, endpoint, 'eth0');
    // What stays when the device goes.
    await container.batch([`addr add ${ip}/32 dev lo`, `route add ${SUBNET} dev eth0 src ${ip}`]);
    await docker.join(endpoint);
    if (name === 'workload') [plugged, devices] = [endpoint, 1];
    return container;
  };
  const workload = await run(one, 'workload', IP);
  const near = await run(one, 'near', '10.97.0.11');
  const far = await run(three, 'far', '10.97.0.31');
  const server = await workload.start('echo', echo('serve'));
  await server.waitForLog(/serving/);
  scene = { places: [one, two, three], workload, near, far, store };
});

const echo = (...words: string[]): string[] => [
  process.execPath,
  inRepository('test/support/echo-process.ts'),
  ...words,
];

function there(): Scene {
  assert.ok(scene);
  return scene;
}

async function handOver({ places: [{ host }], store }: Scene, to: Place): Promise<void> {
  const registry = [`--etcd-endpoints=${store.endpoints.join(',')}`, `--etcd-prefix=${PREFIX}`];
  await host.must([WEFT, 'address', 'move', NETWORK, IP, `--to=${to.host.name}`, ...registry]);
}

const hasMac = ({ lladdr }: IpRecord): boolean => lladdr !== undefined;

/** The workload gets a device on another host and speaks by that; then its address goes there. */
async function move(scene: Scene, to: Place): Promise<PluggedEndpoint> {
  const { workload } = scene;
  const former = plugged;
  assert.ok(former);
  await handOver(scene, to);
  const endpoint = await until(() => to.docker.createEndpoint(IP).catch(() => undefined), {
    what: `the handover on ${to.host.name}`,
  });
  const device = `eth${devices++}`;
  await moveIn(workload, endpoint, device);
  // Its ARP table comes with it: an answer to a question now would still go to the old host.
  const neighbours = (await workload.ip(['neigh', 'show', 'dev', `eth${devices - 2}`])).filter(hasMac);
  await workload.batch([
    ...neighbours.map(
      ({ dst, lladdr }) => `neigh replace ${dst} lladdr ${lladdr} dev ${device} nud reachable`,
    ),
    `route replace ${SUBNET} dev ${device} src ${IP}`,
  ]);
  await to.docker.join(endpoint);
  plugged = endpoint;
  return former;
}

async function passesOn(host: Host): Promise<boolean> {
  const text = await host.must(['ip', 'netns', 'exec', 'weft', 'bridge', '-d', 'link', 'show']);
  return /hairpin on/.test(text);
}

/** Whether frames for a MAC go from one host to another. */
async function sendsTo(host: Host, mac: string, vtep: string): Promise<boolean> {
  const text = await host.must(['ip', 'netns', 'exec', 'weft', 'bridge', 'fdb', 'show']);
  return text.split('\n').some((line) => line.startsWith(mac) && line.includes(`dst ${vtep} `));
}

async function callTo(from: Container, name: string): Promise<() => Promise<CallReport>> {
  const daemon = await from.start(name, echo('call', `--address=${IP}`, `--ms=${MOVING_MS}`));
  await daemon.waitForLog(/calling\n/);
  return async () => {
    const [, report = ''] = await daemon.waitForLog(/calling\n(.*)\n/, 5 * MOVING_MS);
    return JSON.parse(report) as CallReport;
  };
}

/** UDP messages that a socket had no room for: the processor was busy with other work. */
async function overflows(of: Container): Promise<number> {
  const text = await of.must(['cat', '/proc/net/snmp']);
  const [names = '', values = ''] = text.split('\n').filter((line) => line.startsWith('Udp:'));
  return Number(values.split(' ')[names.split(' ').indexOf('RcvbufErrors')]);
}

async function assertNothingLost(t: TestContext, name: string, report: CallReport, missed: number) {
  const { udp, tcp } = report;
  const lost = udp.sent - udp.received;
  t.diagnostic(
    `${name}: UDP ${udp.sent} sent, ${lost} lost, gap ${udp.longestGapMs} ms; TCP ${tcp.sent} bytes, ${
      tcp.isKept ? 'all echoed' : 'broken'
    }, gap ${tcp.longestGapMs} ms; ${missed} without room in a socket`,
  );
  assert.ok(lost <= missed, `${name}: ${lost} of ${udp.sent} lost`);
  assert.ok(tcp.isKept, `${name}: ${tcp.received} of ${tcp.sent} bytes`);
}

for (const late of [false, true]) {
  const when = late ? `${LATE_MS} ms later` : 'at once';
  test(`an address that is handed over loses nothing, with a peer that hears of it ${when}`, {
    skip,
  }, async (t) => {
    const all = there();
    const { places, workload, near, far } = all;
    const [one, two, three] = places;
    const [from, to] = plugged?.host === one.host ? [one, two] : [two, one];
    const calls = [await callTo(near, `near-${late}`), await callTo(far, `far-${late}`)] as const;
    if (late) three.flanneld.kill('SIGSTOP');
    const former = await move(all, to);
    await until(() => passesOn(from.host), { what: `${from.host.name} passes frames on` });
    if (late) {
      // Frames of a peer that is late come by the old host, once.
      const frames = await echoesAt(from.host, far, IP, 5);
      t.diagnostic(`${frames} frames of 5 pings at the old host`);
      assert.equal(frames, 10);
      await systemClock.sleep(LATE_MS);
      three.flanneld.kill('SIGCONT');
    }
    for (const [at, name] of [
      [0, `from the ${from.host === one.host ? 'old' : 'new'} host`],
      [1, 'from another host'],
    ] as const) {
      const report = await calls[at]();
      const missed = (await overflows(at === 0 ? near : far)) + (await overflows(workload));
      await assertNothingLost(t, name, report, missed);
    }
    // The calls may have ended before the late peer went on.
    await until(() => sendsTo(three.host, former.mac, to.host.address), {
      what: `way from ${three.host.name} to ${to.host.name}`,
      timeoutMs: 30_000,
    });
    await from.docker.remove(former);
    assert.equal(await answered(far, IP, 5), 5);
    assert.equal(await echoesAt(from.host, far, IP, 5), 0);
  });
}
