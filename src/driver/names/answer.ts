import {
  CLASS_IN,
  encodeName,
  FIRST_QUESTION_TYPE,
  LAST_QUESTION_TYPE,
  NOERROR,
  NXDOMAIN,
  type Query,
  REFUSED,
  type ResourceRecord,
  TYPE_A,
  TYPE_AAAA,
  TYPE_PTR,
} from '#src/driver/names/dns-message.ts';
import type { Names } from '#src/driver/names/name-table.ts';
import { containsAddress, type Ip, type Ipv6, ipv6, isIpv4, parseIpv4 } from '#src/lib/ip.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

/** Names below it are ours and never asked elsewhere. No top-level domain has that name. */
export const OWN_DOMAIN = 'weft';

/** Containers move and are scaled; who remembers an answer for longer asks the wrong one (Docker's own answers: 600). */
const TTL_SECONDS = 5;

/** `forward`: the name is not the tenant's. The host's own resolvers may know it. */
export type Answer =
  | { readonly outcome: 'answered'; readonly rcode: number; readonly records: readonly ResourceRecord[] }
  | { readonly outcome: 'forward' };

export type NamedTenant = Pick<Tenant, 'name' | 'subnets' | 'internal'>;

/**
 * What a tenant's containers get for a question. A name of the tenant's may end in `.NETWORK`, as Docker has it, in `.weft`,
 * or in both.
 *
 * Others' names are refused in an internal tenant, and not denied: a container may be in a second network whose server
 * knows them, and Docker goes on to the next server after a refusal only.
 */
export function answer(query: Query, { name, subnets, internal }: NamedTenant, names: Names): Answer {
  // Everything at once (RFC 8482), transfers of a zone, other classes.
  if (query.class !== CLASS_IN || (query.type >= FIRST_QUESTION_TYPE && query.type <= LAST_QUESTION_TYPE))
    return answered(REFUSED);
  const reverse = reverseAddress(query.name);
  const subnet = reverse === undefined || isIpv4(reverse) ? subnets.v4 : subnets.v6;
  if (reverse !== undefined && subnet !== undefined && containsAddress(subnet.prefix, reverse))
    return reverseAnswer(query, names.nameOf(reverse), name);
  const network = name.toLowerCase();
  const family = query.type === TYPE_AAAA ? 6 : 4;
  for (const candidate of withoutSuffixes(query.name, network)) {
    const addresses = names.addresses(candidate, family);
    if (addresses === undefined) continue;
    const wanted = query.type === TYPE_A || query.type === TYPE_AAAA ? addresses : [];
    return answered(NOERROR, wanted.map(addressRecord));
  }
  // There are names below these two: a denial would deny them as well (RFC 8020).
  if (query.name === OWN_DOMAIN || query.name === `${network}.${OWN_DOMAIN}`) return answered(NOERROR);
  if (query.name.endsWith(`.${OWN_DOMAIN}`)) return answered(NXDOMAIN);
  return internal ? answered(REFUSED) : { outcome: 'forward' };
}

function* withoutSuffixes(name: string, network: string): Generator<string> {
  yield name;
  const plain = without(name, OWN_DOMAIN);
  if (plain !== undefined) yield plain;
  const short = without(plain ?? name, network);
  if (short !== undefined) yield short;
}

const without = (name: string, domain: string): string | undefined =>
  name.endsWith(`.${domain}`) ? name.slice(0, -domain.length - 1) : undefined;

/** As Docker names an address of its own: `CONTAINER.NETWORK`. */
function reverseAnswer(query: Query, container: string | undefined, network: string): Answer {
  const data = container === undefined ? undefined : encodeName(`${container}.${network}`);
  if (data === undefined) return answered(NXDOMAIN);
  return answered(NOERROR, query.type === TYPE_PTR ? [{ type: TYPE_PTR, ttl: TTL_SECONDS, data }] : []);
}

const answered = (rcode: number, records: readonly ResourceRecord[] = []): Answer => ({
  outcome: 'answered',
  rcode,
  records,
});

function addressRecord(ip: Ip): ResourceRecord {
  const data = Buffer.alloc(isIpv4(ip) ? 4 : 16);
  if (isIpv4(ip)) {
    data.writeUInt32BE(ip);
  } else {
    data.writeBigUInt64BE(ip >> 64n);
    data.writeBigUInt64BE(BigInt.asUintN(64, ip), 8);
  }
  return { type: isIpv4(ip) ? TYPE_A : TYPE_AAAA, ttl: TTL_SECONDS, data };
}

/** The address in a name below `in-addr.arpa` or `ip6.arpa` (RFC 1035 §3.5, RFC 3596 §2.5). */
function reverseAddress(name: string): Ip | undefined {
  const v4 = without(name, 'in-addr.arpa');
  if (v4 !== undefined) return parseIpv4(v4.split('.').reverse().join('.'));
  const v6 = without(name, 'ip6.arpa');
  return v6 === undefined || !/^[0-9a-f](\.[0-9a-f]){31}$/.test(v6) ? undefined : fromNibbles(v6);
}

const fromNibbles = (nibbles: string): Ipv6 => ipv6(BigInt(`0x${nibbles.split('.').reverse().join('')}`));
