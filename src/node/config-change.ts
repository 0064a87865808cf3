import type { PreparedBackend } from '#src/backend/backend.ts';
import { formatIp, formatPrefix, type Prefix4 } from '#src/lib/ip.ts';
import { isUsable } from '#src/network/network-config.ts';
import type { Draft } from '#src/node/intent-maker.ts';

export type ConfigChange =
  | { readonly kind: 'same' }
  /** Can be applied to the running network. `what`: the fields that differ. */
  | { readonly kind: 'in-place'; readonly what: readonly string[] }
  /** Can't: one clause with the field, the value in force and the new one. */
  | { readonly kind: 'refused'; readonly reason: string };

/** What of a draft a change is judged by. */
export type Configured = Pick<Draft, 'config'> & {
  readonly prepared: Pick<PreparedBackend, 'type' | 'settings' | 'inPlace'>;
};

/**
 * What a new config means for a network that runs with this subnet. EnableNFTables and what the backend names (the MTU,
 * DirectRouting) change in place. A change of what containers or peers depend on (Network, SubnetLen, the backend's type,
 * its VNI or port) would renumber containers or cut hosts off, so it waits for a restart, which the operator chooses.
 */
export function judgeConfigChange(now: Configured, next: Configured, subnet: Prefix4): ConfigChange {
  const [from, to] = [fieldsOf(now), fieldsOf(next)];
  const differing = [...new Set([...Object.keys(from), ...Object.keys(to)])].filter(
    (name) => from[name] !== to[name],
  );
  const fixed = differing.find((name) => !IN_PLACE.includes(name) && !now.prepared.inPlace.includes(name));
  if (fixed !== undefined) {
    const field =
      fixed in now.prepared.settings || fixed in next.prepared.settings ? `Backend.${fixed}` : fixed;
    return { kind: 'refused', reason: `${field} is now ${text(to[fixed])} instead of ${text(from[fixed])}` };
  }
  if (!isUsable(next.config, subnet)) {
    return {
      kind: 'refused',
      reason: `our subnet ${formatPrefix(subnet)} is no longer between SubnetMin and SubnetMax`,
    };
  }
  return differing.length === 0 ? { kind: 'same' } : { kind: 'in-place', what: differing };
}

const IN_PLACE = ['EnableNFTables', 'SubnetMin', 'SubnetMax'];

/** The config by its fields, with defaults filled in. */
const fieldsOf = ({ config, prepared }: Configured): Readonly<Record<string, unknown>> => ({
  Network: formatPrefix(config.network),
  SubnetLen: config.subnetLength,
  'Backend.Type': prepared.type,
  EnableNFTables: config.nftables,
  SubnetMin: formatIp(config.subnetMin),
  SubnetMax: formatIp(config.subnetMax),
  ...prepared.settings,
});

const text = (value: unknown): string => (value === undefined ? 'unset' : String(value));
