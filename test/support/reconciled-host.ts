import type { TestContext } from 'node:test';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { type FdbEntry, KINDS, type Link, type Route } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/* One host with networks named after their devices, each with everything on its device. */

export const link = (name: string): Link => ({ kind: 'link', name, type: 'dummy', up: true });
export const fdb = (device: string, n: number, destination = n): FdbEntry => ({
  kind: 'fdb',
  mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, n)),
  destination: ipv4(0xac100000 + destination),
  device,
  permanent: true,
});
/** The slot is its destination's alone: two networks may want it. */
export const route = (device: string, n: number): Route => ({
  kind: 'route',
  destination: prefix4(ipv4(0x0a000000 + n * 256), 24),
  type: 'unicast',
  device,
  onlink: true,
  metric: 0,
  protocol: 3,
  scope: 0,
});
export const scopesOf = (device: string): readonly Scope[] => [
  { kinds: KINDS.names, filter: { device }, owns: ({ kind }) => kind !== 'link' },
];

export interface Host {
  readonly clock: FakeClock;
  readonly kernel: MemoryKernel;
  readonly reconciler: Reconciler;
  /** A network that wants its device. */
  own(device: string): Owner;
}

export async function host(t: TestContext): Promise<Host> {
  const kernel = new MemoryKernel();
  const clock = new FakeClock();
  const reconciler = new Reconciler(
    { actuators: [kernel], clock, log: silentLogger },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  await reconciler.start(stopper.signal);
  const own = (device: string): Owner => {
    const scopes = scopesOf(device);
    const owner = reconciler.own({ name: device, scopes: () => scopes });
    owner.set('own', [link(device)]);
    return owner;
  };
  return { clock, kernel, reconciler, own };
}
