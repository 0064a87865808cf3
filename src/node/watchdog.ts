import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { ServiceManager } from '#src/sys/systemd-notify.ts';

export interface WatchdogComponents {
  readonly clock: Clock;
  readonly log: Logger;
  readonly serviceManager: Pick<ServiceManager, 'watchdogMs' | 'alive'>;
  /** For how long the present step of a reconciler has taken; 0 while there is none. */
  readonly stepMs: () => number;
}

/**
 * Gives the service manager its sign of life, twice in the time that it waits for one, until the signal aborts. A loop that is
 * blocked gives none, and no sign is given while one step of a reconciler takes longer than that time: a process that keeps
 * nothing right is better started again. The data path stays when it is ended.
 */
export async function feedWatchdog(
  { clock, log, serviceManager, stepMs }: WatchdogComponents,
  signal: AbortSignal,
): Promise<void> {
  const { watchdogMs } = serviceManager;
  if (watchdogMs === undefined) return;
  for (let wasStuck = false; ; ) {
    const tookMs = stepMs();
    const isStuck = tookMs > watchdogMs;
    if (!isStuck) await serviceManager.alive();
    else if (!wasStuck)
      log.error(
        `The kernel has been worked on for ${Math.round(tookMs / 1000)} s in one step: systemd gets no sign of life until that ends`,
      );
    wasStuck = isStuck;
    await clock.sleep(watchdogMs / 2, signal);
  }
}
