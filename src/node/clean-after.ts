import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { cleanHost } from '#src/node/clean-host.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { NetworkId } from '#src/node/network-id.ts';
import type { HostComponents } from '#src/node/shared-host.ts';

export interface GoneNetwork {
  readonly options: FlanneldOptions;
  readonly id: NetworkId;
  readonly log: Logger;
}

/** Takes away what a network had on this host, after its end. A failure is logged: the other networks go on. */
export async function cleanAfter(
  components: HostComponents,
  { options, id, log }: GoneNetwork,
): Promise<void> {
  const name = id.name ?? id.prefix;
  try {
    const done = await cleanHost(components, { options, what: id }, new AbortController().signal);
    log.info(`Network ${name} is gone, with ${done.length} things that it had on this host`);
  } catch (error) {
    log.error(`Could not remove what network ${name} had: ${messageOf(error)}`);
  }
}
