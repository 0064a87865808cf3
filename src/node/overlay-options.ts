import { parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { OverlayOptions } from '#src/node/overlay.ts';

/** The flags that an overlay on this host goes by. */
export const overlayOptions = (options: FlanneldOptions): OverlayOptions => ({
  subnetFile: options.subnetFile,
  ipMasq: options.ipMasq,
  forwardRules: options.iptablesForwardRules,
  randomFully: !options.ipMasqFullyRandomDisable,
  dockerMark: dockerMark(options),
  blackhole: options.ipBlackholeRoute,
  ruleCheckMs: Math.max(1, options.iptablesResync) * 1000,
  ...fullCheck(options),
  linearRoutesAbove: options.linearRoutesAbove,
});

/** Without an interval: each minute, for a thousandth of a processor at most. */
const fullCheck = ({
  fullCheckInterval,
}: FlanneldOptions): Pick<OverlayOptions, 'fullCheckMs' | 'fullCheckShare'> =>
  fullCheckInterval === 0
    ? { fullCheckMs: 60_000, fullCheckShare: 0.001 }
    : { fullCheckMs: Math.max(1000, fullCheckInterval), fullCheckShare: 1 };

/** The flag's value was checked when it was read. */
function dockerMark({ dockerFwmark }: FlanneldOptions): number {
  const read = parseDockerFwmark(dockerFwmark);
  return 'mark' in read ? read.mark : 0;
}
