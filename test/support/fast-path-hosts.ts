import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type FastPathWish, fastPathObjects, fastPathScope } from '#src/fast-path/fast-path-objects.ts';
import { type FastCounts, type FastMap, mapName } from '#src/fast-path/map-layouts.ts';
import { hopped, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import { DeviceLookup } from '#src/kernel/device-names.ts';
import { findBy } from '#src/kernel/find-device.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { type Ipv4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, macToBytes, parseMac } from '#src/lib/mac.ts';
import { BpfActuator } from '#src/reconcile/fast-path/bpf-actuator.ts';
import { type FormName, Hooks } from '#src/reconcile/fast-path/hooks.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject } from '#src/state/object.ts';
import { Bpf } from '#src/sys/bpf.ts';
import { systemBpfPins } from '#src/sys/bpf-pins.ts';
import { systemClock } from '#src/sys/clock.ts';
import { NETLINK_ROUTE, systemNetlink } from '#src/sys/netlink-socket.ts';
import { patience } from '#src/sys/until.ts';
import { untilCarrier } from './carrier.ts';
import { ethernet, type FrameSocket, openFrames, packet4, udp } from './frames.ts';

/*
 * Two hosts of a flannel network, each with one container, wired as flannel and Docker do. Each test says which of them
 * has a fast path; the other is a plain peer.
 *
 *   c1 eth0 10.244.1.2 ─ vc docker0 │ flannel.1 ─ eth0 192.168.77.1 ══ 192.168.77.2 eth0 ─ flannel.1 │ docker0 vc ─ eth0 10.244.2.2 c2
 */

export const SET = 'flannel.1';
export const PORT = 8472;
export const VNI = 1;

export interface FastHost {
  readonly number: 1 | 2;
  /** Of the host's network namespace: `/run/netns/NAME`. */
  readonly path: string;
  readonly vtep: Ipv4;
  /** Of flannel.1, of docker0 and of the container's eth0. */
  readonly mac: Mac;
  readonly bridgeMac: Mac;
  readonly containerMac: Mac;
  /** Of eth0, the underlay. */
  readonly underlayMac: Mac;
  readonly containerIp: Ipv4;
  run(command: string): string;
  inContainer(command: string): string;
  ifindex(device: string): number;
  /** The container's network namespace, by its name. */
  readonly container: string;
  /** The container's eth0, as it is now. */
  frames(t: TestContext): Promise<FrameSocket>;
  /** The host's end of the underlay. */
  underlay(t: TestContext): Promise<FrameSocket>;
}

const NO_IPV6 = ['all', 'default'].map((which) => `net.ipv6.conf.${which}.disable_ipv6=1`);

let made = 0;
const call = (...words: string[]): string =>
  execFileSync(words[0] ?? '', words.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
export const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);

export function fastPathHosts(t: TestContext): readonly [FastHost, FastHost] {
  const base = `weft-fast-${process.pid}-${++made}`;
  const names = ['h1', 'c1', 'h2', 'c2'].map((name) => `${base}-${name}`);
  for (const name of names) {
    call('ip', 'netns', 'add', name);
    t.after(() => call('ip', 'netns', 'del', name));
    call('ip', '-n', name, 'link', 'set', 'lo', 'up');
    // Its devices would solicit routers and report groups when they like, and tests count packets.
    call('ip', 'netns', 'exec', name, 'sysctl', '-eqw', ...NO_IPV6);
  }
  const of = (number: 1 | 2) => [`${base}-h${number}`, `${base}-c${number}`] as const;
  call(
    'ip',
    'link',
    'add',
    'eth0',
    'netns',
    of(1)[0],
    'type',
    'veth',
    'peer',
    'name',
    'eth0',
    'netns',
    of(2)[0],
  );
  const hosts = [wire(1, of), wire(2, of)] as const;
  for (const { run, inContainer } of hosts) {
    untilCarrier(run, 'eth0', 'vc', 'docker0');
    untilCarrier(inContainer, 'eth0');
  }
  return hosts;
}

function wire(number: 1 | 2, of: (number: 1 | 2) => readonly [string, string]): FastHost {
  const [host, container] = of(number);
  const inside = (name: string, command: string): string =>
    call('ip', 'netns', 'exec', name, ...command.split(' '));
  const run = (command: string) => inside(host, command);
  const other = 3 - number;
  for (const command of [
    'sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0',
    `ip address add 192.168.77.${number}/24 dev eth0`,
    'ip link set eth0 up',
    `ip link add vc mtu 1450 type veth peer name eth0 netns ${container}`,
    `ip link add docker0 address 02:42:00:00:00:0${number} mtu 1450 type bridge`,
    `ip address add 10.244.${number}.1/24 dev docker0`,
    'ip link set docker0 up',
    'ip link set vc master docker0',
    'ip link set vc up',
    `ip link add ${SET} address 02:00:00:00:f1:0${number} mtu 1450 type vxlan id ${VNI} dstport ${PORT} nolearning local 192.168.77.${number} dev eth0`,
    `ip address add 10.244.${number}.0/32 dev ${SET}`,
    `ip link set ${SET} up`,
    `ip neigh add 10.244.${other}.0 lladdr 02:00:00:00:f1:0${other} dev ${SET} nud permanent`,
    `bridge fdb add 02:00:00:00:f1:0${other} dev ${SET} dst 192.168.77.${other} self permanent`,
    `ip route add 10.244.${other}.0/24 via 10.244.${other}.0 dev ${SET} onlink`,
  ])
    run(command);
  for (const command of [
    `ip address add 10.244.${number}.2/24 dev eth0`,
    'ip link set eth0 mtu 1450 up',
    `ip route add default via 10.244.${number}.1`,
  ])
    inside(container, command);
  const linkOf = (name: string, device: string): { address: string; ifindex: number } =>
    JSON.parse(call('ip', '-n', name, '-j', 'link', 'show', device))[0];
  return {
    number,
    path: `/run/netns/${host}`,
    vtep: ip(`192.168.77.${number}`),
    mac: mac(`02:00:00:00:f1:0${number}`),
    bridgeMac: mac(linkOf(host, 'docker0').address),
    containerMac: mac(linkOf(container, 'eth0').address),
    underlayMac: mac(linkOf(host, 'eth0').address),
    containerIp: ip(`10.244.${number}.2`),
    run,
    container,
    inContainer: (command) => inside(container, command),
    ifindex: (device) => linkOf(host, device).ifindex,
    frames: (t) => openFrames(t, `/run/netns/${container}`, linkOf(container, 'eth0').ifindex),
    underlay: (t) => openFrames(t, `/run/netns/${host}`, linkOf(host, 'eth0').ifindex),
  };
}

/** A bpffs of the test's own, in the folder that it returns. */
export function scratchBpffs(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), 'weft-bpffs-'));
  call('mount', '-t', 'bpf', 'bpf', folder);
  t.after(() => {
    call('umount', folder);
    rmdirSync(folder);
  });
  return folder;
}

/** Milliseconds for which a flow is fresh: a slow machine needs them longer between two packets. */
export const FRESH_MS = 2_000 * patience();
/** A flow stays fresh through all of a test, however slow the machine is: for tests that are not about the time itself. */
export const LONG_MS = 600_000;

/** What the host would want of its fast path. */
export const wishOf = (host: FastHost, peer: FastHost): FastPathWish => ({
  set: SET,
  underlay: 'eth0',
  vtep: host.vtep,
  mac: host.mac,
  vni: VNI,
  port: PORT,
  freshMs: FRESH_MS,
  tcp: true,
  generation: 0,
  peers: [
    { subnet: parsePrefix4(`10.244.${peer.number}.0/24`) ?? assert.fail(), vtep: peer.vtep, mac: peer.mac },
  ],
  locals: [{ ip: host.containerIp, device: 'vc', mac: host.containerMac }],
});

export interface RunningFastPath {
  readonly actuator: BpfActuator;
  readonly reconciler: Reconciler;
  readonly owner: Owner;
  set(objects: readonly KernelObject[]): Promise<void>;
  counts(): FastCounts;
  /** As the daemon ends: what was made stays. */
  stop(): Promise<void>;
}

/** A reconciler on the host with a fast path, and nothing else. */
export async function runFastPath(
  t: TestContext,
  host: FastHost,
  objects: readonly KernelObject[],
  options: { readonly form?: FormName; readonly bpffs: string },
): Promise<RunningFastPath> {
  const stopper = new AbortController();
  const signal = AbortSignal.any([t.signal, stopper.signal]);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: host.path });
  const actuator = new BpfActuator(
    { netlink: systemNetlink, pins: systemBpfPins, clock: systemClock },
    { namespace: host.path, ...options },
  );
  const reconciler = new Reconciler(
    { actuators: [kernel, actuator], clock: systemClock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const scopes = [fastPathScope(SET), { kinds: ['link' as const], owns: () => false }];
  const owner = reconciler.own({ name: 'blue', scopes: () => scopes });
  owner.set('own', objects);
  owner.allowRemoval();
  await reconciler.start(signal);
  const close = () => {
    stopper.abort();
    actuator.close();
    kernel.close();
  };
  t.after(close);
  return {
    actuator,
    reconciler,
    owner,
    async set(wanted) {
      owner.set('own', wanted);
      await owner.settled();
    },
    counts: () => actuator.counts(SET) ?? assert.fail('no fast path'),
    async stop() {
      await owner.release();
      close();
    },
  };
}

/** The objects of {@link wishOf} without the host's conntrack, which a namespace of a test may not have. */
export const wantedOf = (wish: FastPathWish): readonly KernelObject[] =>
  fastPathObjects(wish).filter(({ kind }) => kind !== 'sysctl');

/** A container's UDP packet to the other container, with a text that {@link textsIn} finds. */
export const datagram = (
  from: FastHost,
  to: FastHost,
  text: string,
  { source = from.containerIp, sourcePort = 40_000, flags = 0 } = {},
): Uint8Array =>
  unpadded(
    ethernet(
      from.bridgeMac,
      from.containerMac,
      0x0800,
      packet4(
        { source, target: to.containerIp, protocol: 17, flags },
        udp(sourcePort, 7000, Buffer.from(text)),
      ),
    ),
  );

/** A datagram as the peer's host puts it onto the wire, or as a liar does. */
export function wireFrame(
  from: FastHost,
  to: FastHost,
  text: string,
  { vni = VNI, vtep = from.vtep, mac: inner = to.mac }: { vni?: number; vtep?: Ipv4; mac?: Mac } = {},
): Uint8Array {
  const frame = hopped(datagram(from, to, text), { to: inner, from: from.mac });
  const outside = { source: vtep, destination: to.vtep, sourcePort: 50_000, port: PORT, vni, id: 7, ecn: 0 };
  const bytes = vxlanFrame(frame, outside);
  bytes.set(macToBytes(to.underlayMac), 0);
  return bytes;
}

/** A veth carries short frames, and padding would be no plain packet. */
function unpadded(frame: Uint8Array): Uint8Array {
  const length = new DataView(frame.buffer, frame.byteOffset).getUint16(16);
  return frame.subarray(0, 14 + length);
}

/** BPF and the hooks of a host, past its reconciler: as another program, or another weft, would have them. */
export async function besides<T>(
  host: FastHost,
  { form, bpffs }: { readonly form: FormName; readonly bpffs: string },
  work: (there: { readonly bpf: Bpf; readonly hooks: Hooks; readonly names: DeviceLookup }) => Promise<T>,
): Promise<T> {
  const bpf = await Bpf.open(host.path);
  const client = new RtnetlinkClient(
    await systemNetlink.open({ protocol: NETLINK_ROUTE, namespace: host.path }),
  );
  try {
    const hooks = new Hooks({ bpf, pins: systemBpfPins, client, clock: systemClock }, { bpffs, form });
    return await work({ bpf, hooks, names: new DeviceLookup(findBy(client)) });
  } finally {
    client.close();
  }
}

/** One of the maps that the host's programs work on. */
export const withMap = <T>(
  host: FastHost,
  place: { readonly form: FormName; readonly bpffs: string },
  map: FastMap,
  work: (bpf: Bpf, fd: number) => T,
): Promise<T> =>
  besides(host, place, async ({ bpf, hooks, names }) => {
    const [hook] = (await hooks.list(names)).filter(({ program }) => program === 'note-out');
    const program = bpf.programById(hook?.programId ?? 0) ?? assert.fail('there is no program');
    const { mapIds } = bpf.programInfo(program);
    bpf.close(program);
    for (const id of mapIds) {
      const fd = bpf.mapById(id) ?? assert.fail('the map is gone');
      try {
        if (bpf.mapInfo(fd).name === mapName(map)) return work(bpf, fd);
      } finally {
        bpf.close(fd);
      }
    }
    return assert.fail(`there is no map ${map}`);
  });

/** The texts of datagrams to port 7000 among frames. */
export const textsIn = (frames: readonly Buffer[]): string[] =>
  frames
    .filter(
      (frame) =>
        frame.length >= 42 &&
        frame.readUInt16BE(12) === 0x0800 &&
        frame[23] === 17 &&
        frame.readUInt16BE(36) === 7000,
    )
    .map((frame) => frame.toString('latin1', 42));
