import type { LiveTrace } from '#src/diagnose/trace/live/locate.ts';
import type { WireEvidence } from '#src/diagnose/trace/trace-way.ts';

/** What a marked packet shows of the network between the hosts; `undefined` where it did not come so far. */
export function liveEvidence({ lost }: LiveTrace): WireEvidence | undefined {
  if (lost === undefined)
    return { found: ['a marked packet went there, and its answer came back'], ok: true };
  if (lost.orThere === undefined) return undefined;
  const { host } = lost.orThere;
  return {
    found: [`a marked packet left ${lost.host} and no answer came: it is lost on the wire, or on ${host}`],
    ok: false,
    remedy: `look at the firewalls of ${host} and of the network between`,
  };
}
