import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { OverlayOptions } from '#src/node/overlay.ts';

/** The flags that an overlay on this host goes by. */
export const overlayOptions = (options: FlanneldOptions): OverlayOptions => ({
  subnetFile: options.subnetFile,
  ipMasq: options.ipMasq,
  forwardRules: options.iptablesForwardRules,
  randomFully: !options.ipMasqFullyRandomDisable,
  blackhole: options.ipBlackholeRoute,
  ruleCheckMs: Math.max(1, options.iptablesResync) * 1000,
  fullCheckMs: Math.max(1000, options.fullCheckInterval),
  linearRoutesAbove: options.linearRoutesAbove,
});
