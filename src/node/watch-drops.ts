import type { WantedRules } from '#src/firewall/rules.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { containsAddress } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { readInterfaces } from '#src/node/underlay/host-facts.ts';
import { Caretaker } from '#src/reconcile/caretaker.ts';
import { DropWatch } from '#src/reconcile/rules/drop-watch.ts';
import type { Firewall } from '#src/reconcile/rules/firewall.ts';
import type { FirewallHost } from '#src/reconcile/rules/programs.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

export interface WatchDropsComponents extends FirewallHost {
  readonly kernel: Pick<Kernel, 'links' | 'dump' | 'routeTo'>;
  readonly clock: Clock;
  readonly http: UnixHttp;
}

/** Makes the watch of one network, which has these rules in that firewall. */
export type WatchDrops = (request: WatchDropsRequest) => DropsWatched;

export interface WatchDropsRequest {
  readonly wanted: () => WantedRules;
  readonly firewall: Pick<Firewall, 'programs'>;
  readonly log: Logger;
}

export interface DropsWatched {
  /** What drops the overlay's packets, one clause each. */
  readonly troubles: readonly string[];
  /** The rules of the host changed: look again, soon. */
  poke(): void;
  /** Begins to look, when our own rules are in place. A start that is under way is not held up. */
  start(signal: AbortSignal): void;
}

/** Watches for what drops the packets of one overlay network on this host. */
export function watchDrops(
  components: WatchDropsComponents,
  { wanted, firewall, log }: WatchDropsRequest,
): DropsWatched {
  const { kernel, clock } = components;
  const watch = new DropWatch(
    { ...components, log, programs: (signal) => firewall.programs(signal) },
    { wanted, bridge: () => bridgeOf(kernel, wanted()) },
  );
  const caretaker = new Caretaker({ clock, log }, watch, LOOKS);
  const begin = async (signal: AbortSignal): Promise<void> => {
    await clock.sleep(FIRST_LOOK_MS, signal);
    await caretaker.start(signal);
  };
  return {
    get troubles() {
      return watch.troubles;
    },
    poke: () => caretaker.poke(),
    start(signal) {
      // It finds what it can, and rejects only when the signal aborts.
      begin(signal).catch(() => {});
    },
  };
}

/** The device with an address of our subnets, as `--bip` gives it to docker0 or a user to a bridge of his own. */
async function bridgeOf(
  kernel: WatchDropsComponents['kernel'],
  { v4, v6, arriveBy }: WantedRules,
): Promise<string | undefined> {
  const { addresses } = await readInterfaces(kernel);
  for (const overlay of [v4, v6]) {
    const bridge = addresses.find(
      ({ prefix, device }) =>
        overlay !== undefined &&
        containsAddress(overlay.subnet, prefix.address) &&
        !arriveBy.includes(device),
    );
    if (bridge !== undefined) return bridge.device;
  }
  return undefined;
}

/** Seldom, for nothing is repaired here: a look lists whole tables. */
const LOOKS = { intervalMs: 60_000, settleMs: 250, mostPauseMs: 10_000 };
const FIRST_LOOK_MS = 500;
