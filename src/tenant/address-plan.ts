import { containsAddress, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import { sha256 } from '#src/lib/sha256.ts';
import type { AddressPool } from '#src/tenant/address-pool.ts';
import { heldText } from '#src/tenant/held-address.ts';
import { faultOfAddress, following } from '#src/tenant/subnet-rules.ts';
import type { AddressRecord, TenantSubnet } from '#src/tenant/tenant.ts';

export interface AddressFacts<R extends AddressRecord = AddressRecord> {
  readonly subnet: TenantSubnet;
  /** What is known of its addresses. */
  readonly pool: AddressPool<R>;
  /** The identity of the host that asks. */
  readonly host: string;
  /** `--ip`, `--ip6` */
  readonly wanted?: Ip;
  /** The container's name, where Docker says it (from engine 29 on). */
  readonly container?: string;
  /** `--ip-range` of this host's network; default that of the subnet, or all of it. */
  readonly range?: Prefix;
  /** For IPv6: the host bits of the container's IPv4 address. The same ones are taken if they can be had. */
  readonly hostNumber?: number;
  /** Addresses that another claim is about, or one whose outcome is not known. None of them is chosen. */
  readonly inDoubt: ReadonlySet<Ip>;
  /** The name of another host, for the reason. */
  readonly hostName: (host: string) => string | undefined;
}

export type AddressPlan<R extends AddressRecord = AddressRecord> =
  /** Create the address's record, or replace `previous` if it is still as it was. When that is lost, plan again. */
  | { readonly kind: 'claim'; readonly ip: Ip; readonly previous?: R }
  /** Another host has it in use and hands it over: nothing is written before a container runs with it here. */
  | { readonly kind: 'take-over'; readonly ip: Ip; readonly previous: R }
  | { readonly kind: 'refuse'; readonly reason: string; readonly remedy: string };

/**
 * Which address a container gets (docker-driver.md §4.1, §4.2). An address that was asked for may be anywhere in the subnet, and
 * may be a released or kept one of any host, or one that its host hands over to this one. Without such a wish: the one that this container had on this host, then one
 * that nobody had yet, and last the one that was released first, because other hosts forget a use after a while.
 */
export function planAddress<R extends AddressRecord>(facts: AddressFacts<R>): AddressPlan<R> {
  if (facts.wanted !== undefined) return planWanted(facts, facts.wanted);
  const { pool, subnet, inDoubt } = facts;
  const range = facts.range ?? subnet.range ?? subnet.prefix;
  const own = formerAddress(facts, range);
  if (own !== undefined) return claim(own);
  const counterpart = facts.hostNumber === undefined ? undefined : counterpartOf(facts, range);
  if (counterpart !== undefined) return counterpart;
  const fresh = pool.firstFresh(range, startOf(facts, range), inDoubt);
  if (fresh !== undefined) return { kind: 'claim', ip: fresh };
  const released = pool.longestReleased(range, inDoubt);
  if (released !== undefined) return claim(released);
  const doubts = inDoubt.size > 0 ? `, or are being taken (${inDoubt.size})` : '';
  return {
    kind: 'refuse',
    reason: `all addresses of ${formatPrefix(range)} are in use or kept${doubts}`,
    remedy:
      'remove containers, free the addresses of a host that is gone with "weft address free HOST", or use a larger subnet',
  };
}

function planWanted<R extends AddressRecord>(facts: AddressFacts<R>, wanted: Ip): AddressPlan<R> {
  const { pool, subnet } = facts;
  const fault = faultOfAddress(subnet, wanted);
  if (fault !== undefined) return { kind: 'refuse', reason: fault, remedy: ASK_FOR_ANOTHER };
  const unreadable = pool.faultOf(wanted);
  if (unreadable !== undefined) {
    const reason = `the record of ${formatIp(wanted)} in the registry can't be read: ${unreadable}`;
    return { kind: 'refuse', reason, remedy: 'remove the record, or ask for another address' };
  }
  const previous = pool.get(wanted);
  if (previous === undefined) return { kind: 'claim', ip: wanted };
  if (previous.state === 'released' || previous.state === 'kept') return claim(previous);
  if (isHandedOver(previous, facts.host)) return { kind: 'take-over', ip: wanted, previous };
  return { kind: 'refuse', reason: heldBy(previous, facts), remedy: ASK_FOR_ANOTHER };
}

/** Another host has the address in use, and this one may take it. */
export const isHandedOver = ({ state, host, to }: AddressRecord, self: string): boolean =>
  state === 'published' && host !== self && to === self;

const ASK_FOR_ANOTHER = 'ask for another address, or for none';

const claim = <R extends AddressRecord>(previous: R): AddressPlan<R> => ({
  kind: 'claim',
  ip: previous.ip,
  previous,
});

/** Names host and container, as far as they are known. */
function heldBy(record: AddressRecord, { host, hostName }: Pick<AddressFacts, 'host' | 'hostName'>): string {
  return heldText(
    record,
    record.host === host ? 'this host' : `host ${hostName(record.host) ?? record.host}`,
  );
}

/** The address that the same container had on this host, kept ones included: they were kept for it. */
function formerAddress<R extends AddressRecord>(
  { pool, host, container, subnet, inDoubt }: AddressFacts<R>,
  range: Prefix,
): R | undefined {
  if (container === undefined) return undefined;
  return pool
    .ofContainer(host, container)
    .find(
      ({ ip }) => containsAddress(range, ip) && !inDoubt.has(ip) && faultOfAddress(subnet, ip) === undefined,
    );
}

/** The address with the host bits of the container's IPv4 address: it moves when that moves. */
function counterpartOf<R extends AddressRecord>(
  facts: AddressFacts<R>,
  range: Prefix,
): AddressPlan<R> | undefined {
  const { pool, subnet, inDoubt, container, hostNumber } = facts;
  const ip = following(subnet.prefix.address, hostNumber);
  if (!containsAddress(range, ip) || inDoubt.has(ip)) return undefined;
  if (pool.isFresh(ip)) return { kind: 'claim', ip };
  const previous = pool.get(ip);
  if (previous === undefined || faultOfAddress(subnet, ip) !== undefined) return undefined;
  const isItsOwn = previous.state === 'kept' && previous.names[0] === container;
  return previous.state === 'released' || isItsOwn ? claim(previous) : undefined;
}

/**
 * Where this host begins to look: hosts that choose at the same time rarely want the same address. In a large IPv6 subnet
 * it is within the first 2^32 addresses, which are short.
 */
function startOf({ host }: Pick<AddressFacts, 'host'>, range: Prefix): Ip {
  const bits = Math.min(32, (range.family === 4 ? 32 : 128) - range.length);
  const digest = sha256(`address ${host}`);
  const share = new DataView(digest.buffer).getUint32(0) / 2 ** 32;
  return following(range.address, Math.floor(share * 2 ** bits));
}
