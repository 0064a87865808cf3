import { RtnetlinkKernel, type RtnetlinkKernelOptions } from '#src/kernel/rtnetlink-kernel.ts';
import type { KernelObject } from '#src/state/object.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';

const ARRIVAL_MS = 120_000;

/** Resolves with performance.now() when the kernel first reports the object that has this key. */
export type Arrival<K> = (key: K, what: string) => Promise<number>;

/** Listens to the kernel while `use` runs. `keyOf`: what an object is waited for by; `undefined` for others. */
export async function withArrivals<K, T>(
  options: RtnetlinkKernelOptions,
  keyOf: (object: KernelObject) => K | undefined,
  use: (arrival: Arrival<K>) => Promise<T>,
): Promise<T> {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, options);
  const waiting = new Map<K, (at: number) => void>();
  const stop = new AbortController();
  await kernel.monitor((event) => {
    if (event.type === 'overrun') throw new Error('the kernel dropped events: the figures would be wrong');
    const key = event.type === 'changed' ? keyOf(event.object) : undefined;
    if (key !== undefined) waiting.get(key)?.(performance.now());
  }, stop.signal);
  const deadline = AbortSignal.timeout(ARRIVAL_MS);
  try {
    return await use((key, what) => {
      const { promise, resolve, reject } = Promise.withResolvers<number>();
      waiting.set(key, resolve);
      deadline.addEventListener('abort', () => reject(new Error(`no ${what}`)));
      return promise;
    });
  } finally {
    stop.abort();
    kernel.close();
  }
}
