import type { PreparedBackend } from '#src/backend/backend.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import { familiesOf } from '#src/lib/per-family.ts';
import type { Subnets } from '#src/network/lease.ts';
import { isUsable, type SubnetRange } from '#src/network/subnet-range.ts';
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
export function judgeConfigChange(now: Configured, next: Configured, subnets: Subnets): ConfigChange {
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
  for (const family of familiesOf(subnets)) {
    const range: SubnetRange | undefined = next.config.ranges[family];
    const subnet = subnets[family];
    if (range === undefined || subnet === undefined || isUsable(range, subnet)) continue;
    const [min, max] = family === 'v4' ? ['SubnetMin', 'SubnetMax'] : ['IPv6SubnetMin', 'IPv6SubnetMax'];
    return {
      kind: 'refused',
      reason: `our subnet ${formatPrefix(subnet)} is no longer between ${min} and ${max}`,
    };
  }
  return differing.length === 0 ? { kind: 'same' } : { kind: 'in-place', what: differing };
}

const IN_PLACE = ['EnableNFTables', 'SubnetMin', 'SubnetMax', 'IPv6SubnetMin', 'IPv6SubnetMax'];

/** The config by its fields, with defaults filled in. */
const fieldsOf = ({ config, prepared }: Configured): Readonly<Record<string, unknown>> => ({
  EnableIPv4: config.ranges.v4 !== undefined,
  EnableIPv6: config.ranges.v6 !== undefined,
  ...rangeFields('', config.ranges.v4),
  ...rangeFields('IPv6', config.ranges.v6),
  'Backend.Type': prepared.type,
  EnableNFTables: config.nftables,
  ...prepared.settings,
});

const rangeFields = (prefix: string, range: SubnetRange | undefined): Readonly<Record<string, unknown>> =>
  range === undefined
    ? {}
    : {
        [`${prefix}Network`]: formatPrefix(range.network),
        [`${prefix}SubnetLen`]: range.subnetLength,
        [`${prefix}SubnetMin`]: formatIp(range.subnetMin),
        [`${prefix}SubnetMax`]: formatIp(range.subnetMax),
      };

const text = (value: unknown): string => (value === undefined ? 'unset' : String(value));
