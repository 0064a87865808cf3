import type { HostEvents } from '#src/lib/host-events.ts';
import type { Network } from '#src/node/network.ts';
import type { NetworkMember } from '#src/node/network-set.ts';
import { ReadinessNotes } from '#src/node/readiness-notes.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface ReadinessSources {
  readonly clock: Clock;
  readonly eventsOf: (network: string | undefined) => HostEvents;
  readonly networks: () => Iterable<NetworkMember>;
  /** Why Docker's networks are not as they should be. */
  readonly tenantTroubles: () => readonly string[] | undefined;
}

const LOOK_EVERY_MS = 1_000;

/** Notes when a network, or Docker's driver, becomes ready or stops being so, until the signal aborts. */
export async function watchReadiness(
  { clock, eventsOf, networks, tenantTroubles }: ReadinessSources,
  signal: AbortSignal,
): Promise<never> {
  const notes = new WeakMap<Network, ReadinessNotes>();
  const tenants = new ReadinessNotes(eventsOf(undefined), "Docker's networks");
  for (;;) {
    await clock.sleep(LOOK_EVERY_MS, signal);
    for (const { network, failure } of networks()) {
      const { name } = network.id;
      const note = notes.get(network) ?? new ReadinessNotes(eventsOf(name), name ?? 'network');
      notes.set(network, note);
      note.look(failure === undefined || network.isUp ? network.troubles : [failure]);
    }
    const troubles = tenantTroubles();
    if (troubles !== undefined) tenants.look(troubles);
  }
}
