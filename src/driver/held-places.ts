import type { SlotView } from '#src/reconcile/slot-view.ts';
import { FoundSegments } from '#src/tenant/found-segments.ts';
import type { SharedPlace } from '#src/tenant/segment-wiring.ts';

/** Which VLANs of shared bridges devices have now, as the reconciler has seen. */
export const heldIn = (reconciler: { view(): Iterable<SlotView> }): Iterable<SharedPlace> =>
  new FoundSegments(Array.from(reconciler.view(), ({ found }) => found ?? []).flat()).heldPlaces();
