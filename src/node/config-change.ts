import type { PreparedBackend } from '#src/backend/backend.ts';
import { PreparedChange } from '#src/backend/prepare-change.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import { FAMILY_NAMES, familiesOf, familyText } from '#src/lib/per-family.ts';
import { Secret } from '#src/lib/secret.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { NetworkConfig } from '#src/network/network-config.ts';
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
  readonly prepared: Path | PreparedChange;
};

type Path = Pick<PreparedBackend, 'type' | 'settings' | 'inPlace'>;

/**
 * What a new config means for a network that runs with this subnet. EnableNFTables and what the backend names (the MTU,
 * DirectRouting) change in place. A change of what containers or peers depend on (Network, SubnetLen, the backend's type,
 * its VNI or port) would renumber containers or cut hosts off, so it waits for a restart, which the operator chooses.
 */
export function judgeConfigChange(now: Configured, next: Configured, subnets: Subnets): ConfigChange {
  const step = stepOfChange(now, next);
  const [from, to] = [fieldsOf(now), fieldsOf(next)];
  const differing = [...new Set([...Object.keys(from), ...Object.keys(to)])].filter(
    (name) => !isSame(from[name], to[name]),
  );
  const paths = pathsOf(next);
  const isShared = pathsOf(now).some((path) => paths.some((other) => isSamePath(path, other)));
  // Packets go on by a path that both have, so the other one may come and go.
  const mayBeFixed = (name: string): boolean =>
    step !== undefined && isShared && (name === 'Backend.Type' || !(name in rangesOf(now)));
  const fixed = differing.find(
    (name) => !IN_PLACE.includes(name) && !now.prepared.inPlace.includes(name) && !mayBeFixed(name),
  );
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
  if (step !== undefined) return { kind: 'in-place', what: [step] };
  return differing.length === 0 ? { kind: 'same' } : { kind: 'in-place', what: differing };
}

/** What a config with other families than those in use means; `undefined` where they are the same. */
export function judgeFamilies(now: NetworkConfig, next: NetworkConfig): ConfigChange | undefined {
  const family = FAMILY_NAMES.find(
    (name) => (now.ranges[name] === undefined) !== (next.ranges[name] === undefined),
  );
  if (family === undefined) return undefined;
  const [is, was] = [next, now].map(({ ranges }) => ranges[family] !== undefined);
  return { kind: 'refused', reason: `Enable${familyText(family)} is now ${is} instead of ${was}` };
}

/** What happens to a change of the path; `undefined` where nothing does. */
function stepOfChange({ config: { change: now } }: Configured, { config: { change: next } }: Configured) {
  if (now?.id === next?.id && now?.phase === next?.phase) return undefined;
  if (next === undefined) return `the change ${now?.id} is over`;
  return `the change ${next.id} to another path is in phase ${next.phase}`;
}

/** The paths that a host has with a config: the backend's, and while it changes the second one. */
const pathsOf = ({ prepared }: Configured): readonly Path[] =>
  prepared instanceof PreparedChange ? [prepared.own, prepared.other] : [prepared];

/** Whether packets that leave by one arrive by the other. */
function isSamePath(one: Path, other: Path): boolean {
  const names = Object.keys({ ...one.settings, ...other.settings });
  const fixed = names.filter((name) => !one.inPlace.includes(name));
  return one.type === other.type && fixed.every((name) => one.settings[name] === other.settings[name]);
}

const IN_PLACE = ['EnableNFTables', 'SubnetMin', 'SubnetMax', 'IPv6SubnetMin', 'IPv6SubnetMax'];

/** The config by its fields, with defaults filled in. */
const fieldsOf = (configured: Configured): Readonly<Record<string, unknown>> => ({
  ...rangesOf(configured),
  'Backend.Type': configured.prepared.type,
  EnableNFTables: configured.config.nftables,
  ...configured.prepared.settings,
});

const rangesOf = ({ config: { ranges } }: Pick<Configured, 'config'>): Readonly<Record<string, unknown>> => ({
  EnableIPv4: ranges.v4 !== undefined,
  EnableIPv6: ranges.v6 !== undefined,
  ...rangeFields('', ranges.v4),
  ...rangeFields('IPv6', ranges.v6),
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

const isSame = (one: unknown, other: unknown): boolean =>
  one === other || (one instanceof Secret && other instanceof Secret && one.equals(other));

const text = (value: unknown): string => (value === undefined ? 'unset' : String(value));
