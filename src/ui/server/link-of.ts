import type { Peer } from '#src/observe/api.ts';
import type { Link } from '#src/ui/model/feed.ts';

/**
 * A peer as the map shows it. A round trip is rounded to two digits: each new figure goes to every page, and a change
 * of a microsecond is none.
 */
export function linkOf(peer: Peer): Link {
  const { lease, subnet, publicIp, probe } = peer;
  const where = {
    peer: lease,
    ...(subnet !== undefined && { subnet }),
    ...(publicIp !== undefined && { publicIp }),
  };
  if (peer.programmed !== 'yes') {
    const why = peer.programmed === 'quarantined' ? 'in quarantine' : 'not in the kernel';
    return { ...where, state: 'unused', reason: peer.reason === undefined ? why : `${why}: ${peer.reason}` };
  }
  if (probe === undefined) return { ...where, state: 'unmeasured' };
  const { sent, answered, roundTripMs } = probe.tunnel;
  return {
    ...where,
    state: probe.state,
    ...(roundTripMs !== undefined && { roundTripMs: Number(roundTripMs.toPrecision(2)) }),
    ...(sent > 0 && { lossPercent: Math.round((100 * (sent - answered)) / sent) }),
    ...(probe.workingMtu !== undefined && { workingMtu: probe.workingMtu }),
    ...(probe.findings.length > 0 && { reason: probe.findings.join('; ') }),
  };
}

/** The lease's name of a subnet, as flannel writes it: `10.0.65.1/24` or `10.0.65.0/24` is `10.0.65.0-24`. */
export function leaseNameOf(subnet: string): string | undefined {
  const [, a, b, c, d, bits] = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\/(\d+)$/.exec(subnet) ?? [];
  const length = Number(bits);
  if (a === undefined || b === undefined || c === undefined || d === undefined || !(length <= 32))
    return undefined;
  const mask = length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
  const bytes = [a, b, c, d].map(Number);
  const value = bytes.reduce((sum, byte) => sum * 256 + byte, 0);
  const network = (value & mask) >>> 0;
  return `${[24, 16, 8, 0].map((shift) => (network >>> shift) & 255).join('.')}-${length}`;
}
