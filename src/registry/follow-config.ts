import type { Logger } from '#src/lib/log.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Milliseconds between two looks at the config. flannel reads it once. */
const LOOK_MS = 5_000;

export interface FollowConfigOptions {
  /** The text that is in force. */
  readonly text: string;
  /** Called with each other text; `undefined` when the key is gone. The next look waits for it. */
  readonly onText: (text: string | undefined) => Promise<void>;
}

/** Follows the network's config until the signal aborts. A registry that does not answer says nothing of the config. */
export async function followConfig(
  {
    registry,
    clock,
  }: { readonly registry: Pick<Registry, 'readConfig'>; readonly clock: Clock; readonly log: Logger },
  { text, onText }: FollowConfigOptions,
  signal: AbortSignal,
): Promise<never> {
  for (let known: string | undefined = text; ; ) {
    await clock.sleep(LOOK_MS, signal);
    const read = await registry.readConfig(signal).then(
      (found) => ({ found }),
      () => undefined,
    );
    signal.throwIfAborted();
    if (read === undefined || read.found === known) continue;
    known = read.found;
    await onText(known);
  }
}
