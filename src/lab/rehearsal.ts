import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { type Fault, type FaultTarget, kernelState } from '#src/lab/faults.ts';
import type { Lab } from '#src/lab/lab.ts';
import { allContainers } from '#src/lab/reach.ts';
import { Traffic, type TrafficReport } from '#src/lab/traffic.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';
import { until } from '#src/sys/until.ts';

export interface RehearsalOptions {
  /** The host that is damaged. */
  readonly host: string;
  /** How long a fault of the store lasts, in milliseconds. */
  readonly lastsMs: number;
  /** Command that runs the relay for `etcd-slow`. */
  readonly relay: readonly string[];
}

export interface RehearsalReport {
  readonly fault: string;
  /** Whether the host's kernel state was as before within ten seconds. */
  readonly mended: boolean;
  /** The longest repair, in milliseconds; absent for faults of the store, which do not change the kernel state. */
  readonly mendedMs: number | undefined;
  /** Between two containers, 200 packets a second, meanwhile; `undefined` when there are no two hosts with one. */
  readonly traffic: TrafficReport | undefined;
}

const PATIENCE_MS = 10_000;

/** Causes one fault in a lab under traffic and reports the outcome. */
export async function rehearse(lab: Lab, fault: Fault, options: RehearsalOptions): Promise<RehearsalReport> {
  const { clock } = lab.components;
  const host = lab.host(options.host);
  const etcd = (await EmbeddedStore.find(lab)) ?? (await Etcd.find(lab));
  const containers = await allContainers(lab);
  const from = containers.find((it) => it.host === host);
  const to = containers.find((it) => it.host !== host && it.network === from?.network);
  const traffic = from === undefined || to === undefined ? undefined : await Traffic.start(from, to.address);
  const target: FaultTarget = {
    lab,
    host,
    relay: options.relay,
    ...(etcd === undefined ? {} : { etcd }),
    ...(to === undefined ? {} : { peer: to.host }),
  };
  try {
    const before = await kernelState(host);
    const started = clock.monotonic();
    await fault.start(target);
    if (fault.kind === 'store') {
      await clock.sleep(options.lastsMs, lab.signal);
      await fault.end(target);
    }
    const mended = await mendedAt(clock, async () => (await kernelState(host)) === before);
    return {
      fault: fault.name,
      mended: mended !== undefined,
      mendedMs: mended === undefined || fault.kind === 'store' ? undefined : Math.round(mended - started),
      traffic: await traffic?.stop(),
    };
  } catch (error) {
    await traffic?.stop();
    throw error;
  }
}

async function mendedAt(clock: Clock, isMended: () => Promise<boolean>): Promise<number | undefined> {
  try {
    await until(isMended, { what: 'repair', timeoutMs: PATIENCE_MS, intervalMs: 5, clock });
    return clock.monotonic();
  } catch (error) {
    if (error instanceof WeftError && error.code === 'timed-out') return undefined;
    throw error;
  }
}
