import { encodeFlow, encodeLocal, encodePeer, encodeSettings } from '#src/fast-path/map-layouts.ts';
import { chosenIn, hopped, udpFrame, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import type { BpfObject } from '#src/kernel/bpf/bpf-object.ts';
import { WeftError } from '#src/lib/errors.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { closeMaps, createMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import { closePrograms, loadPrograms } from '#src/reconcile/fast-path/load-programs.ts';
import type { FastLocal, FastPath, FastPeer, FastProgram } from '#src/state/object.ts';
import type { Bpf } from '#src/sys/bpf.ts';

/** TC_ACT_UNSPEC and TC_ACT_REDIRECT of linux/pkt_cls.h. */
export const LEFT_ALONE = -1;
export const REDIRECTED = 7;

/** A call or a program for which the process lacks a right. */
const REFUSALS: readonly string[] = ['EPERM', 'EACCES'];
const RIGHTS =
  'give flanneld the rights: FLANNELD_FAST_PATH=on in /etc/weft/flanneld.conf, then "systemctl daemon-reload && systemctl restart flanneld"; elsewhere CAP_BPF, CAP_PERFMON, CAP_NET_ADMIN and the system call bpf';

/** The namespace's own loopback, which stands for every device. */
export const LOOPBACK = 1;
const set = 'self-test';
const settings: FastPath = {
  kind: 'fast-path',
  set,
  underlay: 'lo',
  vtep: ipv4(0xc0000201),
  mac: '02:00:00:00:00:01' as Mac,
  vni: 0xabcdef,
  port: 8472,
  // A flow that was noted when the machine started is fresh.
  freshMs: 9_000_000_000_000,
  tcp: true,
  generation: 1,
};
const peer: FastPeer = {
  kind: 'fast-peer',
  set,
  subnet: prefix4(ipv4(0xc6336400), 24),
  vtep: ipv4(0xc0000202),
  mac: '02:00:00:00:00:02' as Mac,
};
const local: FastLocal = {
  kind: 'fast-local',
  set,
  ip: ipv4(0xcb007102),
  device: 'lo',
  mac: '02:00:00:00:00:03' as Mac,
};
const out = { source: local.ip, destination: ipv4(0xc6336409), sourcePort: 40_000, destinationPort: 53 };
const back = {
  source: out.destination,
  destination: out.source,
  sourcePort: out.destinationPort,
  destinationPort: out.sourcePort,
};
/** One peer, one container, and a flow between them in both directions, on addresses for documentation (RFC 5737). */
export const TRIAL = { settings, peer, local, out, back } as const;

/**
 * Loads the programs with maps of their own and runs them on made-up packets: what they put into VXLAN must be our own
 * codec's, byte for byte, and what is not plain must be left alone. Throws a WeftError `fast-path` with the reason, also
 * where the kernel refuses a map or a program.
 */
export function selfTest(bpf: Bpf, object: BpfObject): void {
  try {
    test(bpf, object);
  } catch (cause) {
    if (cause instanceof WeftError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const { code = '' } = cause as NodeJS.ErrnoException;
    throw new WeftError('fast-path', `cannot load the fast path into the kernel: ${reason}`, {
      cause,
      remedy: `${REFUSALS.includes(code) ? RIGHTS : 'run Linux 5.13 or later'}, or use --fast-path=off`,
    });
  }
}

function test(bpf: Bpf, object: BpfObject): void {
  const maps = createMaps(bpf);
  try {
    const programs = loadPrograms(bpf, object, maps);
    try {
      const run = (program: FastProgram, packet: Uint8Array) => {
        const { fd } = programs.get(program) ?? {};
        if (fd === undefined) throw new TypeError(`${program} is not loaded`);
        return bpf.testRun(fd, packet, { ingressIfindex: LOOPBACK });
      };
      bpf.update(maps.settings, encodeSettings(settings, { underlay: LOOPBACK, tunnel: LOOPBACK }));
      bpf.update(maps.peers, encodePeer(peer));
      bpf.update(maps.locals, encodeLocal(local, LOOPBACK));
      const sent = udpFrame(out, Buffer.from('weft'));
      const received = hopped(udpFrame(back, Buffer.from('weft')), { to: settings.mac, from: peer.mac });
      const wire = outside(received);
      const expectLeft = (what: string, program: FastProgram, packet: Uint8Array) =>
        expect(what, run(program, packet), LEFT_ALONE, packet);

      expectLeft('a flow that is not fresh', 'from-container', sent);
      expectLeft('a flow from the wire that is not fresh', 'from-wire', wire);
      expectLeft('a packet that was let out', 'note-out', sent);
      expectLeft('a packet that was let in', 'note-in', received);
      for (const flow of [out, back]) {
        const { key, value } = encodeFlow({ ...flow, protocol: 17 }, 0n, 1);
        if (bpf.lookup(maps.flows, key, value.length) === undefined) fail('a flow was not noted');
      }
      const frame = hopped(sent, { to: peer.mac, from: settings.mac });
      const { vtep: source, vni, port } = settings;
      const ends = { source, destination: peer.vtep, vni, port, ecn: 0 };
      const delivered = hopped(received, { to: local.mac, from: settings.mac });
      // The first packet looks its way up, the second one finds it.
      for (const which of ['first', 'second']) {
        const encapsulated = run('from-container', sent);
        const wanted = vxlanFrame(frame, { ...ends, ...chosenIn(encapsulated.packet) });
        expect(`the ${which} packet of a fresh flow to a peer`, encapsulated, REDIRECTED, wanted);
        const found = run('from-wire', wire);
        expect(`the ${which} packet of a fresh flow from a peer`, found, REDIRECTED, delivered);
      }

      expectLeft('a fragment', 'from-container', changed(sent, 20, 0x20));
      expectLeft('a packet of another VNI', 'from-wire', changed(wire, 48, 1));
      expectLeft('a packet from another VTEP', 'from-wire', outside(received, ipv4(0xc0000203)));
      expectLeft('a fragment from the wire', 'from-wire', changed(wire, 20, 0x20));
    } finally {
      closePrograms(bpf, programs);
    }
  } finally {
    closeMaps(bpf, maps);
  }
}

const outside = (frame: Uint8Array, source = peer.vtep): Uint8Array =>
  vxlanFrame(frame, {
    source,
    destination: settings.vtep,
    sourcePort: 50_000,
    port: settings.port,
    vni: settings.vni,
    id: 1,
    ecn: 0,
  });

function changed(packet: Uint8Array, at: number, byte: number): Uint8Array {
  const copy = Uint8Array.from(packet);
  copy[at] = byte;
  return copy;
}

function expect(
  what: string,
  found: { readonly result: number; readonly packet: Uint8Array },
  result: number,
  packet: Uint8Array,
): void {
  if (found.result !== result) fail(`${what}: the program gives ${found.result} in place of ${result}`);
  if (Buffer.compare(found.packet, packet) !== 0)
    fail(
      `${what}: ${Buffer.from(found.packet).toString('hex')} in place of ${Buffer.from(packet).toString('hex')}`,
    );
}

function fail(reason: string): never {
  throw new WeftError('fast-path', `this kernel runs the fast path wrongly: ${reason}`, {
    remedy: 'use --fast-path=off, and report the kernel',
  });
}
