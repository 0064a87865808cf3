import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  COUNTS,
  encodeFlow,
  encodeLocal,
  encodePeer,
  encodeSettings,
  type FastCounts,
  type Flow,
  localKey,
  nextEdition,
  peerKey,
} from '#src/fast-path/map-layouts.ts';
import { decide, type ModelState } from '#src/fast-path/model.ts';
import { chosenIn, udpFrame, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import { checksumOf } from '#src/lib/inner-packet.ts';
import { formatIpv4, type Ipv4, parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import { type Mac, macToBytes } from '#src/lib/mac.ts';
import { closeMaps, createMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import {
  closePrograms,
  type FastMaps,
  loadPrograms,
  readPrograms,
} from '#src/reconcile/fast-path/load-programs.ts';
import { LEFT_ALONE, REDIRECTED } from '#src/reconcile/fast-path/self-test.ts';
import type { FastPath, FastPeer, FastProgram } from '#src/state/object.ts';
import { Bpf } from '#src/sys/bpf.ts';
import { randomOf } from '../fuzz/random.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Random packets through the programs in the kernel (BPF_PROG_TEST_RUN), each of which must come to what model.ts says:
 * left as it is, or changed to the same bytes, with the same count. No devices are needed but the namespace's loopback, and one
 * for the tunnel's MTU.
 *
 *   WEFT_FUZZ_PACKETS=1000000 WEFT_FUZZ_SEED=7   more, or others
 */
const skip = cannotRun() || ((await bpfForms()).get('clsact') ?? false);
const PACKETS = Number(process.env.WEFT_FUZZ_PACKETS) || 100_000;
const SEED = Number(process.env.WEFT_FUZZ_SEED) || 20_261_128;

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const LOOPBACK = 1;
/** Less than the longest packets have. */
const TUNNEL_MTU = 1_000;
const NO_MAC = '00:00:00:00:00:00' as Mac;
const SETTINGS: FastPath = {
  kind: 'fast-path',
  set: 'flannel.1',
  underlay: 'lo',
  vtep: ip('192.168.77.1'),
  mac: '02:00:00:00:f1:01' as Mac,
  vni: 5,
  port: 8472,
  freshMs: 9_000_000_000_000,
  tcp: true,
  generation: 4,
};
const peer = (subnet: string, vtep: string, last: number): FastPeer => ({
  kind: 'fast-peer',
  set: 'flannel.1',
  subnet: parsePrefix4(subnet) ?? assert.fail(),
  vtep: ip(vtep),
  mac: `02:00:00:00:f1:0${last}` as Mac,
});
const local = (ifindex: number, last: number) => ({ ifindex, mac: `02:42:0a:f4:01:0${last}` as Mac });
/** The first of each row to begin with; a change takes another of them, or none. */
const PEERS = [
  [peer('10.244.2.0/24', '192.168.77.2', 2), peer('10.244.2.0/24', '192.168.77.5', 5)],
  [peer('10.244.3.0/24', '192.168.77.3', 3), peer('10.244.3.0/24', '192.168.77.3', 6)],
  // Within the other: the longest prefix has the word.
  [peer('10.244.3.128/25', '192.168.77.4', 4), peer('10.244.3.128/25', '192.168.77.2', 2)],
  // What is a container's here, too: a flow then goes out and comes in with the same addresses.
  [peer('10.244.1.0/24', '192.168.77.5', 5), peer('10.244.1.0/24', '192.168.77.3', 6)],
];
const LOCALS = [
  { address: ip('10.244.1.2'), ends: [local(LOOPBACK, 2), local(LOOPBACK, 4), local(78, 2)] },
  { address: ip('10.244.1.3'), ends: [local(77, 3), local(LOOPBACK, 3)] },
];
const THEIRS = ['10.244.2.2', '10.244.3.2', '10.244.3.200', '10.244.9.2', '10.244.1.2', '10.244.1.3'];

class Packets {
  readonly #random: () => number;

  constructor(seed: number) {
    this.#random = randomOf(seed);
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)] ?? assert.fail();
  }

  /** A plain packet, mostly, with something odd in it, mostly. */
  inner(isInbound: boolean): Uint8Array {
    const [ours, theirs] = [
      this.one(['10.244.1.2', '10.244.1.2', '10.244.1.2', '10.244.1.3', '10.244.1.4']),
      this.one(THEIRS),
    ];
    const [source, destination] = isInbound ? [theirs, ours] : [ours, theirs];
    const payload = Buffer.alloc(this.one([0, 1, 5, 12, 13, 400, 1400]), this.below(256));
    const ports = { sourcePort: 1000 + this.below(3), destinationPort: 2000 };
    const frame = udpFrame({ source: ip(source), destination: ip(destination), ...ports }, payload);
    if (isInbound) {
      frame.set(macToBytes(SETTINGS.mac), 0);
      frame.set(macToBytes('02:00:00:00:f1:02' as Mac), 6);
    }
    if (this.below(2) === 0) {
      frame[23] = 6;
      if (frame.length > 47)
        frame[47] = this.one([0x10, 0x10, 0x10, 0x18, 0x02, 0x12, 0x11, 0x14, 0x04, 0x01, 0]);
    }
    if (this.below(4) === 0) frame[15] = this.below(256);
    if (this.below(20) === 0) frame[14] = this.one([0x46, 0x44, 0x65, 0x4f]);
    if (this.below(20) === 0) frame[22] = this.below(3);
    if (this.below(20) === 0) frame[20] = this.one([0x20, 0x40, 0x1f, 0x80]);
    if (this.below(20) === 0) frame[23] = this.one([1, 132, 47, 255]);
    if (this.below(20) === 0) frame[17] = this.below(256);
    if (this.below(30) === 0) frame[12] = this.below(256);
    // A checksum that is wrong stays wrong by as much; the edges of its range are likely.
    new DataView(frame.buffer).setUint16(24, 0);
    new DataView(frame.buffer).setUint16(
      24,
      this.one([checksumOf(frame, 14, 34), checksumOf(frame, 14, 34), 0xffff, 0xfffe, 0, this.below(65_536)]),
    );
    return frame;
  }

  outer(): Uint8Array {
    const frame = vxlanFrame(this.inner(true), {
      source: ip(this.one(['192.168.77.2', '192.168.77.2', '192.168.77.3', '192.168.77.4', '192.168.77.5'])),
      destination: this.below(20) === 0 ? ip('192.168.77.9') : SETTINGS.vtep,
      sourcePort: this.below(65_536),
      port: this.below(20) === 0 ? 4789 : SETTINGS.port,
      vni: this.below(20) === 0 ? this.one([1, 4, 0x050000]) : SETTINGS.vni,
      id: this.below(65_536),
      ecn: this.below(10) === 0 ? this.below(4) : 0,
    });
    // Any byte of the headers.
    if (this.below(5) === 0) frame[this.below(OUTER_AND_INNER)] = this.below(256);
    // The kernel makes no shorter ones here.
    return this.below(50) === 0 ? frame.subarray(0, 34 + this.below(frame.length - 34)) : frame;
  }
}

const OUTER_AND_INNER = 84;
const CHANGES_EVERY = 200;

/** Peers and containers as they are now, in the kernel and for the model. */
class World {
  readonly peers = new Map<number, FastPeer>();
  readonly locals = new Map<Ipv4, { ifindex: number; mac: Mac }>();
  readonly #bpf: Bpf;
  readonly #maps: FastMaps;
  readonly #tunnel: number;
  #settings = SETTINGS;
  #edition: Uint8Array | undefined;

  constructor(bpf: Bpf, maps: FastMaps, tunnel: number) {
    this.#bpf = bpf;
    this.#maps = maps;
    this.#tunnel = tunnel;
    this.#set(SETTINGS);
    for (const [row, [first]] of PEERS.entries()) this.#setPeer(row, first);
    for (const { address, ends } of LOCALS) this.#setLocal(address, ends[0]);
    this.#beginEdition();
  }

  get settings(): FastPath {
    return this.#settings;
  }

  #set(settings: FastPath): void {
    this.#settings = settings;
    this.#bpf.update(
      this.#maps.settings,
      encodeSettings(settings, { underlay: LOOPBACK, tunnel: this.#tunnel }),
    );
  }

  change(packets: Packets): void {
    this.#set({
      ...SETTINGS,
      tcp: packets.below(3) > 0,
      freshMs: packets.below(20) > 0 ? SETTINGS.freshMs : 0,
    });
    const row = packets.below(PEERS.length);
    const { address, ends } = packets.one(LOCALS);
    // One number more than there are: none.
    if (packets.below(2) === 0) this.#setPeer(row, PEERS[row]?.[packets.below(3)]);
    else this.#setLocal(address, ends[packets.below(ends.length + 1)]);
    this.#beginEdition();
  }

  #setPeer(row: number, peer: FastPeer | undefined): void {
    const before = this.peers.get(row);
    this.peers.delete(row);
    if (peer !== undefined) {
      this.peers.set(row, peer);
      this.#bpf.update(this.#maps.peers, encodePeer(peer));
    } else if (before !== undefined) this.#bpf.delete(this.#maps.peers, peerKey(before));
  }

  #setLocal(address: Ipv4, end: { ifindex: number; mac: Mac } | undefined): void {
    this.locals.delete(address);
    if (end === undefined) {
      this.#bpf.delete(this.#maps.locals, localKey({ ip: address }));
      return;
    }
    this.locals.set(address, end);
    const object = { kind: 'fast-local', set: 'flannel.1', ip: address, device: 'lo', mac: end.mac } as const;
    this.#bpf.update(this.#maps.locals, encodeLocal(object, end.ifindex));
  }

  #beginEdition(): void {
    const entry = nextEdition(this.#edition);
    this.#edition = entry.value;
    this.#bpf.update(this.#maps.edition, entry);
  }
}

function readCounts(bpf: Bpf, fd: number): FastCounts {
  const key = new Uint8Array(4);
  return Object.fromEntries(
    COUNTS.map((name, index) => {
      key[0] = index;
      return [name, bpf.sumOfProcessors(fd, key)];
    }),
  ) as FastCounts;
}

test(`${PACKETS} random packets come to what the model says, seed ${SEED}`, { skip }, async (t) => {
  const namespace = scratchNamespace(t);
  namespace.run('ip link set lo up');
  namespace.run(`ip link set u0 mtu ${TUNNEL_MTU}`);
  const bpf = await Bpf.open(namespace.path);
  const [u0] = namespace.json('ip link show u0');
  const tunnel = Number(u0?.ifindex);
  const maps = createMaps(bpf);
  const programs = loadPrograms(bpf, await readPrograms(), maps);
  try {
    const world = new World(bpf, maps, tunnel);
    const packets = new Packets(SEED);
    const fresh = new Set<string>();
    const nameOf = (flow: Flow) => Buffer.from(encodeFlow(flow, 0n, 0).key).toString('hex');
    // Some flows are noted by the programs, others are from before the rules changed.
    for (const sourcePort of [1001, 1002])
      for (const protocol of [6, 17])
        for (const theirs of THEIRS)
          for (const [source, destination] of [
            ['10.244.1.2', theirs],
            [theirs, '10.244.1.2'],
          ] as const) {
            const ports = { sourcePort, destinationPort: 2000, protocol };
            const flow = { source: ip(source), destination: ip(destination), ...ports };
            const isNow = sourcePort === 1001;
            bpf.update(
              maps.flows,
              encodeFlow(flow, 0n, isNow ? SETTINGS.generation : SETTINGS.generation - 1),
            );
            if (isNow) fresh.add(nameOf(flow));
          }
    const totals = new Map<string, number>();
    let before = readCounts(bpf, maps.counts);
    for (let count = 0; count < PACKETS; count++) {
      // Flows have gone fast in both directions meanwhile, and what was remembered of them ends here.
      if (packets.below(CHANGES_EVERY) === 0) world.change(packets);
      const program: FastProgram = packets.one([
        'from-container',
        'from-container',
        'from-wire',
        'from-wire',
        'from-wire',
        packets.one(['note-out', 'note-in']),
      ]);
      const isNoting = program.startsWith('note');
      const ingressIfindex = packets.one([0, tunnel]);
      const packet = program === 'from-wire' ? packets.outer() : packets.inner(program === 'note-in');
      // Noting goes on a flow that no other packet has, so that what is fresh stays as it was.
      if (isNoting) packet.set([0xff, 0xfe], 34);
      const state: ModelState = {
        settings: world.settings,
        peers: [...world.peers.values()],
        locals: world.locals,
        isFresh: (flow) => fresh.has(nameOf(flow)),
        ifindex: LOOPBACK,
        mac: NO_MAC,
        ingressIfindex,
        tunnelIfindex: tunnel,
        tunnelMtu: TUNNEL_MTU,
      };
      const { fd } = programs.get(program) ?? assert.fail();
      const said = () =>
        `packet ${count} of seed ${SEED}, ${program}: ${Buffer.from(packet).toString('hex')}`;
      const wanted = decide(program, packet, state);
      const found = bpf.testRun(fd, packet, { ingressIfindex });
      assert.equal(found.result, wanted.fast === undefined ? LEFT_ALONE : REDIRECTED, said());
      const bytes =
        wanted.fast?.(program === 'from-container' ? chosenIn(found.packet) : NOTHING_CHOSEN) ?? packet;
      if (Buffer.compare(found.packet, bytes) !== 0)
        assert.equal(Buffer.from(found.packet).toString('hex'), Buffer.from(bytes).toString('hex'), said());
      const what = wanted.count ?? 'left';
      totals.set(what, (totals.get(what) ?? 0) + 1);
      if (program === 'from-wire' && wanted.fast !== undefined) assertTrue(packet, world, said);
      // Counts are read now and then: that takes as long as a hundred packets.
      if (count % 1000 !== 999 && count !== PACKETS - 1) continue;
      const now = readCounts(bpf, maps.counts);
      const added = COUNTS.map((name) => [name, now[name] - before[name]]).filter(([, n]) => n !== 0);
      const expected = COUNTS.map((name) => [name, totals.get(name) ?? 0]).filter(([, n]) => n !== 0);
      assert.deepEqual(added, expected, said());
      seen.push(...totals.keys());
      totals.clear();
      before = now;
    }
    // What the packets are worth: each way of deciding was taken.
    const rare = COUNTS.filter((name) => !seen.includes(name));
    assert.deepEqual(rare, ['failed']);
  } finally {
    closePrograms(bpf, programs);
    closeMaps(bpf, maps);
  }
});

const seen: string[] = [];
const NOTHING_CHOSEN = { id: 0, sourcePort: 0 };

/** Said a third time, and plainly: who may send what into a container. */
function assertTrue(packet: Uint8Array, { peers }: World, said: () => string): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const [vtep, inner] = [formatIpv4(view.getUint32(26) as Ipv4), formatIpv4(view.getUint32(76) as Ipv4)];
  const [, , third, fourth] = inner.split('.').map(Number);
  const isUpper = third === 3 && fourth !== undefined && fourth >= 128;
  const ownerOf3 = (isUpper && peers.get(2)) || peers.get(1);
  const owner = third === 1 ? peers.get(3) : third === 2 ? peers.get(0) : ownerOf3;
  assert.equal(vtep, owner && formatIpv4(owner.vtep), said());
  assert.equal(view.getUint32(46), SETTINGS.vni * 256, said());
  assert.equal(view.getUint32(30), SETTINGS.vtep, said());
}
