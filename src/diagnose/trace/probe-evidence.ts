import type { Carriage } from '#src/diagnose/trace/part.ts';
import type { WireEvidence } from '#src/diagnose/trace/trace-way.ts';
import type { FamilyProbe } from '#src/observe/api.ts';

export interface ProbeOf {
  /** The other host's, as this host's flanneld measured it; absent before the first round, and where probes are off. */
  readonly probe: FamilyProbe | undefined;
  /** The UDP port of the tunnel that is measured; absent for a backend without one. */
  readonly port: number | undefined;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * What this host's probes say of the network between two hosts. They measure flannel's tunnel: of another one only the underlay
 * counts. `undefined` where nothing was measured.
 */
export function probeEvidence(
  { probe, port, now }: ProbeOf,
  carriage: Carriage | undefined,
): WireEvidence | undefined {
  if (probe === undefined || probe.tunnel.sent + probe.underlay.sent === 0) return undefined;
  const { state, findings, tunnel, underlay } = probe;
  const age = `by the probes of this host, ${Math.max(0, Math.round((now - Date.parse(probe.at)) / 1_000))} s ago`;
  const isMeasured = carriage?.kind !== 'tunnel' || carriage.port === port;
  if (state === 'down' && underlay.answered === 0) {
    const remedy = 'look whether the other host runs, and for a firewall that drops everything in between';
    return { found: [...findings, age], ok: false, remedy };
  }
  if (!isMeasured)
    return { found: ['the hosts reach each other, and this tunnel is not measured', age], ok: 'unknown' };
  if (state === 'down') {
    const what = port === undefined ? "the overlay's packets" : `UDP port ${port}`;
    const remedy = `let ${what} pass in the firewalls of both hosts and between them; "weft doctor" on the other host finds its own`;
    return { found: [...findings, age], ok: false, remedy };
  }
  if (tunnel.answered === 0) return { found: [...findings, age], ok: 'unknown' };
  const trip = tunnel.roundTripMs === undefined ? '' : ` in ${tunnel.roundTripMs.toFixed(1)} ms`;
  const end = carriage?.kind === 'direct' ? 'the other host' : 'the other end of the tunnel';
  return { found: [`${end} answered${trip}`, ...findings, age], ok: true };
}
