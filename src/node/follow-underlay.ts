import type { Backend, PreparedBackend } from '#src/backend/backend.ts';
import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import { formatIp } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Overlay } from '#src/node/overlay.ts';
import { backendUnderlay } from '#src/node/refuse-harm.ts';
import { type HostFacts, readHostFacts, type Underlay } from '#src/node/underlay.ts';

export interface UnderlayUse {
  readonly overlay: Overlay;
  readonly host: PreparedBackend;
  /** Chooses as at the start. */
  choose(facts: HostFacts): Promise<Underlay>;
  /** Puts the new address into the lease. */
  publish(backend: Backend, underlay: Underlay): void;
}

/** An address that is changed is gone before the new one is there. */
const SETTLE_MS = 200;

/**
 * Follows the underlay's address until the signal aborts: a new one goes into the device, the lease and the peers'
 * entries in place, without a restart (flannel issues 408, 1052).
 */
export function followUnderlay(
  { kernel, log }: { readonly kernel: Kernel; readonly log: Logger },
  { overlay, host, choose, publish }: UnderlayUse,
  signal: AbortSignal,
): void {
  let pending: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    pending = undefined;
    try {
      const underlay = await choose(await readHostFacts(kernel));
      const { underlay: before, backend } = overlay.place;
      if (sameUnderlay(underlay, before)) return await overlay.reroute();
      log.info(
        `The underlay is now ${underlay.name} with ${formatIp(underlay.address)}, MTU ${underlay.mtu} (it was ${formatIp(before.address)}, MTU ${before.mtu}): following`,
      );
      const moved = host.make(backendUnderlay(underlay), backend.published);
      publish(moved, underlay);
      await overlay.moveTo(underlay, moved);
    } catch (error) {
      if (!isAbort(error))
        log.warning(`The underlay has no usable address now: ${messageOf(error)}; waiting for one`);
    }
  };
  const stop = overlay.reconciler.observe((event) => {
    if (concerns(event, overlay.place.underlay.name)) pending ??= setTimeout(look, SETTLE_MS);
  });
  const end = (): void => {
    stop();
    clearTimeout(pending);
  };
  signal.addEventListener('abort', end, { once: true });
}

function concerns(event: KernelEvent, device: string): boolean {
  if (event.type !== 'changed' && event.type !== 'removed') return false;
  const { object } = event;
  return object.kind === 'address'
    ? object.device === device
    : object.kind === 'link' && object.name === device;
}

const sameUnderlay = (a: Underlay, b: Underlay): boolean =>
  a.name === b.name && a.address === b.address && a.publicIp === b.publicIp && a.mtu === b.mtu;
