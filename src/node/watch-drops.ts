import type { WantedRules } from '#src/firewall/rules.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { containsAddress } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { readHostFacts } from '#src/node/underlay.ts';
import { Caretaker } from '#src/reconcile/caretaker.ts';
import { DropWatch } from '#src/reconcile/rules/drop-watch.ts';
import type { Firewall } from '#src/reconcile/rules/firewall.ts';
import type { FirewallHost } from '#src/reconcile/rules/programs.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

export interface WatchDropsComponents extends FirewallHost {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly http: UnixHttp;
  readonly firewall: Firewall;
  readonly createLogger: (component: string) => Logger;
}

export interface DropsWatched {
  readonly watch: DropWatch;
  /** To be poked whenever any rules change. */
  readonly caretaker: Caretaker;
  /** Begins to look, when our own rules are in place. A start that is under way is not held up. */
  start(signal: AbortSignal): void;
}

/** Watches for what drops the packets of one overlay network on this host. */
export function watchDrops(components: WatchDropsComponents, wanted: () => WantedRules): DropsWatched {
  const { kernel, clock, firewall, createLogger } = components;
  const log = createLogger('firewall');
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
    watch,
    caretaker,
    start(signal) {
      // It finds what it can, and rejects only when the signal aborts.
      begin(signal).catch(() => {});
    },
  };
}

/** The device with the first address of our subnet, as `--bip` gives it to docker0 or a user to a bridge of his own. */
async function bridgeOf(kernel: Kernel, { v4, arriveBy }: WantedRules): Promise<string | undefined> {
  if (v4 === undefined) return undefined;
  const { addresses } = await readHostFacts(kernel);
  return addresses.find(
    ({ prefix, device }) => containsAddress(v4.subnet, prefix.address) && !arriveBy.includes(device),
  )?.device;
}

/** Seldom, for nothing is repaired here: a look lists whole tables. */
const LOOKS = { intervalMs: 60_000, settleMs: 250, mostPauseMs: 10_000 };
const FIRST_LOOK_MS = 500;
