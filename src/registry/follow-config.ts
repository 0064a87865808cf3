import { Backoff } from '#src/lib/backoff.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Random } from '#src/sys/random.ts';

export interface FollowConfigComponents {
  readonly registry: Pick<Registry, 'watchConfig'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface FollowConfigOptions {
  /** The text that is in force; `undefined` where none is. */
  readonly text: string | undefined;
  /** Called with each other text; `undefined` when the key is gone. The next text waits for it. */
  readonly onText: (text: string | undefined) => Promise<void> | void;
}

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 30_000;

/**
 * Follows the network's config until the signal aborts, and rejects with its reason, or with what `onText` threw. A
 * registry that does not answer says nothing of the config, and is asked again.
 */
export async function followConfig(
  { registry, clock, random, log }: FollowConfigComponents,
  { text, onText }: FollowConfigOptions,
  signal: AbortSignal,
): Promise<never> {
  const backoff = new Backoff({ random }, { baseMs: FIRST_PAUSE_MS, capMs: LONGEST_PAUSE_MS });
  let known = text;
  const texts = async function* (): AsyncGenerator<string | undefined, void> {
    for (;;) {
      try {
        for await (const found of registry.watchConfig(signal)) {
          backoff.reset();
          yield found;
        }
      } catch (error) {
        signal.throwIfAborted();
        log.verbose(1, `asking for the network config again: ${messageOf(error)}`);
      }
      await clock.sleep(backoff.next(), signal);
    }
  };
  for await (const found of texts()) {
    if (found === known) continue;
    known = found;
    await onText(found);
  }
  throw signal.reason;
}
