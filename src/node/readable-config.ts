import { messageOf } from '#src/lib/errors.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

/** flannel's own pause between two looks at the config. */
const CONFIG_LOOK_MS = 1_000;

/**
 * Waits for a config that can be read, as flannel does: an operator mends it in the registry, not
 * on every host. Each faulty text is logged once with its fault, and `onWait` is called then.
 */
export async function readableConfig(
  { registry, clock, log }: { readonly registry: Registry; readonly clock: Clock; readonly log: Logger },
  first: string,
  signal: AbortSignal,
  onWait: () => void,
): Promise<{ readonly text: string; readonly config: NetworkConfig }> {
  let said: string | undefined;
  for (let text: string | undefined = first; ; ) {
    try {
      if (text !== undefined) {
        const config = parseNetworkConfig(text, registry.api === 'v2' ? 'v0.9.1' : 'head');
        const { backend, ranges } = config;
        const networks = valuesOf(networksOf(ranges)).map(formatPrefix).join(' and ');
        log.info(`Found network config - Backend type: ${backend.type}, Network ${networks}`);
        return { text, config };
      }
    } catch (error) {
      if (text !== said)
        log.error(`Could not use the network config: ${messageOf(error)}; waiting for another`);
      said = text;
      onWait();
    }
    await clock.sleep(CONFIG_LOOK_MS, signal);
    text = await registry.readConfig(signal).catch(() => undefined);
  }
}
