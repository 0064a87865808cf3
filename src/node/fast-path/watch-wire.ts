import type { FastEnd } from '#src/backend/fast-way.ts';
import { wireOf } from '#src/fast-path/bare-echo.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Ipv4 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { type TrialSource, WireTrials, type WireTrialsComponents } from '#src/node/fast-path/wire-trials.ts';
import type { WireSockets } from '#src/sys/wire-sockets.ts';

/** Peers that are tried at once, the pause between two trials, and the longer one while nobody waits. */
const AT_ONCE = 50;
const PAUSE_MS = 1_000;
const IDLE_MS = 5_000;
/** A peer that was found good is tried again so much later, and one that was not. */
const GOOD_MS = 600_000;
const BAD_MS = 60_000;

export interface WatchWireComponents extends WireTrialsComponents {
  readonly log: Logger;
  /** Loaded when the first peer is tried. */
  readonly wireSockets: () => Promise<WireSockets>;
}

export interface WatchedWire {
  /** Peers whose packets go fast, or would, by name. */
  ends(): ReadonlyMap<string, FastEnd>;
  /** `undefined` while nothing goes fast. */
  source(): TrialSource | undefined;
  /** `reason`: why this peer's packets can't go fast. */
  judged(name: string, reason: string | undefined): void;
}

const DROPPED = 'datagrams without a UDP checksum, as the fast path sends them, do not arrive there';

/** Tries each peer's wire while the fast path is on: soon after it came, and seldom from then on. Runs until the signal aborts. */
export async function watchWire(
  components: WatchWireComponents,
  wire: WatchedWire,
  signal: AbortSignal,
): Promise<void> {
  const { clock, log } = components;
  /** By name: where the peer is, and when it is tried again. */
  const known = new Map<string, { readonly wire: Ipv4; readonly at: number }>();
  let trials: WireTrials | undefined;
  let pauseMs = PAUSE_MS;
  while (!signal.aborted) {
    await clock.sleep(pauseMs, signal);
    pauseMs = PAUSE_MS;
    const source = wire.source();
    if (source === undefined) continue;
    const ends = wire.ends();
    for (const name of known.keys()) if (!ends.has(name)) known.delete(name);
    const now = clock.monotonic();
    const due = new Map<string, FastEnd>();
    for (const [name, end] of ends) {
      const before = known.get(name);
      if (before !== undefined && before.wire === wireOf(end) && before.at > now) continue;
      due.set(name, end);
      if (due.size === AT_ONCE) break;
    }
    if (due.size === 0) {
      pauseMs = IDLE_MS;
      continue;
    }
    try {
      trials ??= new WireTrials(components, await components.wireSockets());
      const dropped = await trials.run(due, source, signal);
      for (const [name, end] of due) {
        const isBad = dropped.has(name);
        known.set(name, { wire: wireOf(end), at: clock.monotonic() + (isBad ? BAD_MS : GOOD_MS) });
        wire.judged(name, isBad ? DROPPED : undefined);
      }
    } catch (error) {
      signal.throwIfAborted();
      log.warning(`Could not try what the fast path sends: ${messageOf(error)}; trying again in a minute`);
      await clock.sleep(BAD_MS, signal);
    }
  }
}
