import { encodeFlow, encodeLocal, encodePeer, encodeSettings } from '#src/fast-path/map-layouts.ts';
import { hopped, udpFrame, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { closeMaps, createMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import { closePrograms, loadPrograms, readPrograms } from '#src/reconcile/fast-path/load-programs.ts';
import { LEFT_ALONE, LOOPBACK, REDIRECTED, TRIAL } from '#src/reconcile/fast-path/self-test.ts';
import type { FastPeer, FastProgram } from '#src/state/object.ts';
import { Bpf } from '#src/sys/bpf.ts';
import { type Benchmark, Sheet } from './benchmark.ts';

const ROUNDS = 5;
const SINGLE_RUNS = 5_000;
const REPEATED_RUNS = 50;
const REPEAT = 1_000;
const PEERS = [1, 10_000];

/** What each packet costs in our own programs, without what the kernel does before and after them. */
export const fastPathPrograms: Benchmark = {
  name: 'fast-path-programs',
  title: 'Programs of the fast path',
  method: `Nanoseconds of one run of a BPF program of this source tree on one packet of 64 bytes (BPF_PROG_TEST_RUN), with few and with many peers. A sample is the least of many runs: what else the machine does does not count. A packet that goes fast is changed by the run, so that each run is measured by itself; the kernel's clock then adds what “nothing” has. The others are runs in a row. Which way the kernel sends the packet afterwards is not in it.`,
  beside: ['1 peer'],
  plotted: ['fast, out', 'fast, in'],
  async run({ say }) {
    const sheet = new Sheet();
    const bpf = await Bpf.open();
    const object = await readPrograms();
    for (const peers of PEERS) {
      const maps = createMaps(bpf);
      const programs = loadPrograms(bpf, object, maps);
      try {
        bpf.update(maps.settings, encodeSettings(settings, { underlay: LOOPBACK, tunnel: LOOPBACK }));
        bpf.updateAll(
          maps.peers,
          Array.from({ length: peers }, (_, n) => encodePeer(peerOf(n))),
        );
        bpf.update(maps.locals, encodeLocal(local, LOOPBACK));
        for (const flow of [out, back])
          bpf.update(maps.flows, encodeFlow({ ...flow, protocol: 17 }, 0n, settings.generation));
        const variant = peers === 1 ? '1 peer' : `${peers.toLocaleString('en')} peers`;
        for (const { what, program, packet, result, isChanged } of CASES) {
          const { fd } = programs.get(program) ?? {};
          if (fd === undefined) throw new TypeError(`${program} is not loaded`);
          const repeat = isChanged === false ? REPEAT : 1;
          for (let round = 0; round < ROUNDS; round++) {
            let least = Number.POSITIVE_INFINITY;
            for (let n = 0; n < (repeat === 1 ? SINGLE_RUNS : REPEATED_RUNS); n++) {
              const run = bpf.testRun(fd, packet, { ingressIfindex: LOOPBACK, repeat });
              if (run.result !== result) throw new Error(`${what}: the program gives ${run.result}`);
              least = Math.min(least, run.nanoseconds);
            }
            sheet.add(what, 'ns', variant, least);
          }
          say(
            `${what}: ${variant} ${sheet.rows.find((row) => row.what === what)?.samples[variant]?.at(-1)} ns`,
          );
        }
      } finally {
        closePrograms(bpf, programs);
        closeMaps(bpf, maps);
      }
    }
    return sheet.rows;
  },
};

const { settings, peer, local, out, back } = TRIAL;
/** The peer of the flow, or one of those beside it: /24s in a row below 10.0.0.0/8, as a network gives them out. */
const peerOf = (n: number): FastPeer =>
  n === 0 ? peer : { ...peer, subnet: prefix4(ipv4(0x0a010000 + n * 256), 24), vtep: ipv4(0x0a000000 + n) };
const payload = Buffer.alloc(64);
const sent = udpFrame(out, payload);
const received = hopped(udpFrame(back, payload), { to: settings.mac, from: peer.mac });
const wireOf = (inner: Uint8Array) =>
  vxlanFrame(inner, {
    source: peer.vtep,
    destination: settings.vtep,
    sourcePort: 50_000,
    port: settings.port,
    vni: settings.vni,
    id: 1,
    ecn: 0,
  });

interface Case {
  readonly what: string;
  readonly program: FastProgram;
  readonly packet: Uint8Array;
  readonly result: number;
  /** Whether the next run would find another packet. */
  readonly isChanged: boolean;
}
const fast = { result: REDIRECTED, isChanged: true };
const slow = { result: LEFT_ALONE, isChanged: false };
const CASES: readonly Case[] = [
  { what: 'nothing', program: 'from-container', packet: Buffer.alloc(64), ...slow, isChanged: true },
  { what: 'fast, out', program: 'from-container', packet: sent, ...fast },
  { what: 'fast, in', program: 'from-wire', packet: wireOf(received), ...fast },
  {
    what: 'not fresh, out',
    program: 'from-container',
    packet: udpFrame({ ...out, sourcePort: 1 }, payload),
    ...slow,
  },
  {
    what: 'not fresh, in',
    program: 'from-wire',
    packet: wireOf(
      hopped(udpFrame({ ...back, sourcePort: 1 }, payload), { to: settings.mac, from: peerOf(0).mac }),
    ),
    ...slow,
  },
  {
    what: 'to no peer',
    program: 'from-container',
    packet: udpFrame({ ...out, destination: ipv4(0xc6336401) }, payload),
    ...slow,
  },
  { what: 'no VXLAN', program: 'from-wire', packet: udpFrame(out, Buffer.alloc(128)), ...slow },
  { what: 'noted, out', program: 'note-out', packet: sent, ...slow },
  { what: 'noted, in', program: 'note-in', packet: received, ...slow },
];
