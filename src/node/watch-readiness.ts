import type { HostEvents } from '#src/lib/host-events.ts';
import type { Network } from '#src/node/network.ts';
import type { NetworkMember } from '#src/node/network-set.ts';
import { ReadinessNotes } from '#src/node/readiness-notes.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface ReadinessSources {
  readonly clock: Clock;
  readonly eventsOf: (network: string | undefined) => HostEvents;
  readonly networks: () => Iterable<NetworkMember>;
  /** Why Docker's networks are not as they should be. */
  readonly tenantTroubles: () => readonly string[] | undefined;
}

const LOOK_EVERY_MS = 1_000;
/** With 1,000 networks a look takes longer, and then they are fewer. */
const MOST_OF_THE_TIME = 0.01;

/** Notes when a network, or Docker's driver, becomes ready or stops being so, until the signal aborts. */
export async function watchReadiness(
  { clock, eventsOf, networks, tenantTroubles }: ReadinessSources,
  signal: AbortSignal,
): Promise<never> {
  const notes = new WeakMap<Network, ReadinessNotes>();
  const tenants = new ReadinessNotes(eventsOf(undefined), "Docker's networks");
  for (let tookMs = 0; ; ) {
    await untilBeat(clock, Math.max(LOOK_EVERY_MS, tookMs / MOST_OF_THE_TIME), signal);
    const began = clock.monotonic();
    for (const { network, failure } of networks()) {
      const { name } = network.id;
      const note = notes.get(network) ?? new ReadinessNotes(eventsOf(name), name ?? 'network');
      notes.set(network, note);
      note.look(failure === undefined || network.isUp ? network.troubles : [failure]);
    }
    const troubles = tenantTroubles();
    if (troubles !== undefined) tenants.look(troubles);
    tookMs = clock.monotonic() - began;
  }
}
