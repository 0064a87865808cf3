import { parseDockerFwmark } from '#src/docker/docker-fwmark.ts';
import type { DataPathOptions } from '#src/node/data-path.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { IntentMakerOptions } from '#src/node/intent-maker.ts';
import type { NetworkArtefacts, NetworkId } from '#src/node/network-id.ts';
import type { IntentOptions } from '#src/node/network-intent.ts';
import type { ReconcilerOptions } from '#src/reconcile/reconciler.ts';

/* What the parts of a network take from the flags. */

export const intentOptions = (options: FlanneldOptions): IntentOptions => ({
  ipMasq: options.ipMasq,
  forwardRules: options.iptablesForwardRules,
  randomFully: !options.ipMasqFullyRandomDisable,
  dockerMark: dockerMark(options),
  blackhole: options.ipBlackholeRoute,
});

export const dataPathOptions = (
  options: FlanneldOptions,
): Pick<DataPathOptions, keyof IntentOptions | 'linearRoutesAbove'> => ({
  ...intentOptions(options),
  linearRoutesAbove: options.linearRoutesAbove,
});

export const makerOptions = (
  { prefix }: NetworkId,
  { title, tag }: NetworkArtefacts,
  options: FlanneldOptions,
  identity: string,
): IntentMakerOptions => ({ ...options, owner: prefix, title, tag, identity });

/** Milliseconds between looks at the rules that no event asked for: iptables-legacy reports no change. */
export const ruleCheckMs = ({ iptablesResync }: FlanneldOptions): number =>
  Math.max(1, iptablesResync) * 1000;

export const wantsRules = ({ ipMasq, iptablesForwardRules }: FlanneldOptions): boolean =>
  ipMasq || iptablesForwardRules;

/** Without an interval: each minute, for a thousandth of a processor at most. */
export const reconcilerOptions = ({ fullCheckInterval }: FlanneldOptions): ReconcilerOptions =>
  fullCheckInterval === 0
    ? { fullCheckMs: 60_000, fullCheckShare: 0.001 }
    : { fullCheckMs: Math.max(1000, fullCheckInterval), fullCheckShare: 1 };

/** The flag's value was checked when it was read. */
function dockerMark({ dockerFwmark }: FlanneldOptions): number {
  const read = parseDockerFwmark(dockerFwmark);
  return 'mark' in read ? read.mark : 0;
}
