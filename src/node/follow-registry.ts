import type { LeaseKeeper } from '#src/node/lease-keeper.ts';
import type { Overlay } from '#src/node/overlay.ts';
import { LeaseWatcher, type LeaseWatcherComponents } from '#src/registry/lease-watcher.ts';

export interface Followers {
  readonly overlay: Pick<Overlay, 'replacePeers' | 'changePeers'>;
  readonly keeper: Pick<LeaseKeeper, 'onSnapshot' | 'onEvent'>;
  /** The revision of the list that is known already. */
  readonly from: bigint;
  /** Told what can't be gone on from. */
  readonly fail: (error: unknown) => void;
}

/** Hands what the registry tells to the overlay and to the keeper of our own lease, one batch after the other. */
export function followRegistry(
  components: LeaseWatcherComponents,
  { overlay, keeper, from, fail }: Followers,
  signal: AbortSignal,
): LeaseWatcher {
  let last: Promise<void> = Promise.resolve();
  const inTurn = (step: () => Promise<void>): void => {
    last = last.then(step);
    last.catch(fail);
  };
  const watcher = new LeaseWatcher(components, {
    from,
    onSnapshot: ({ records }) =>
      inTurn(async () => {
        keeper.onSnapshot(records);
        await overlay.replacePeers(records);
      }),
    onBatch: ({ events }) =>
      inTurn(async () => {
        for (const event of events) keeper.onEvent(event);
        await overlay.changePeers(events);
      }),
  });
  watcher.run(signal).catch(fail);
  return watcher;
}
