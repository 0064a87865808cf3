import type { NewTenant } from '#src/driver/tenant-admin.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlagTable, OptionsOf } from '#src/lib/go-flags.ts';
import {
  type Ip,
  type Ipv4,
  type Ipv6,
  isIpv4,
  type Prefix,
  type Prefix4,
  type Prefix6,
  parseIp,
  parsePrefix,
} from '#src/lib/ip.ts';
import { faultOfPrefix } from '#src/tenant/subnet-rules.ts';
import { assertTenantName } from '#src/tenant/tenant-name.ts';

/** What `weft network create` can be given; names as in `docker network create` where that has them. */
export const TENANT_FLAGS = {
  subnet: text('the IPv4 `PREFIX` of its containers; without one a free /24 of 10.128.0.0/9'),
  subnet6: text('an IPv6 `PREFIX` as well'),
  ipv6: flag('with an IPv6 subnet, a /64 that follows from the name without --subnet6'),
  gateway: {
    kind: 'repeatable',
    default: [],
    environment: false,
    description: 'the `IP` of each subnet that is reserved on all hosts; without it the first one',
  },
  'ip-range': {
    kind: 'repeatable',
    default: [],
    environment: false,
    description: 'the `PREFIX` in a subnet from which addresses are chosen; --ip may give any',
  },
  aux: {
    kind: 'repeatable',
    default: [],
    environment: false,
    description: 'an address that no container gets, as `NAME=IP`; may be repeated',
  },
  vni: {
    kind: 'int',
    default: 0,
    environment: false,
    description: 'its `number` in VXLAN packets, 1 to 16777215; without one a free one from 10000 on',
  },
  mtu: {
    kind: 'int',
    default: 0,
    environment: false,
    description: 'the `bytes` of a packet in it, on all hosts; without it what the underlay of a host leaves',
  },
  internal: flag('without a way out: Docker gives its containers no second interface'),
} as const satisfies FlagTable;

function text(description: string) {
  return { kind: 'string', default: '', environment: false, description } as const;
}

function flag(description: string) {
  return { kind: 'bool', default: false, environment: false, description } as const;
}

/**
 * Throws WeftError `usage` for what can't be read, `tenant-name` and `tenant-refused` for what can't be, before anybody is
 * asked. Whether the parts fit together is judged later.
 */
export function readNewTenant(name: string, options: OptionsOf<typeof TENANT_FLAGS>): NewTenant {
  const { subnet, subnet6, ipv6, vni, mtu, internal } = options;
  assertTenantName(name);
  const prefix = readOf<Prefix4>('subnet', subnet, 4);
  const prefix6 = readOf<Prefix6>('subnet6', subnet6, 6);
  const fault = [prefix, prefix6].map((it) => it && faultOfPrefix(it)).find((it) => it !== undefined);
  if (fault !== undefined) throw new WeftError('tenant-refused', `can't create network ${name}: ${fault}`);
  const gateways = options.gateway.map((given) => read('gateway', given, parseIp, 'an IP address'));
  const ranges = options.ipRange.map((given) => read('ip-range', given, parsePrefix, 'a prefix'));
  const auxiliary = options.aux.map(readAuxiliary);
  const partsOf = <A extends Ip, P extends Prefix>(family: 4 | 6) => {
    const isOurs = (ip: Ip): boolean => isIpv4(ip) === (family === 4);
    const gateway = atMostOne('gateway', family, gateways.filter(isOurs)) as A | undefined;
    const range = atMostOne(
      'ip-range',
      family,
      ranges.filter((given) => given.family === family),
    ) as P | undefined;
    const own = auxiliary.filter(([, ip]) => isOurs(ip)) as [string, A][];
    return {
      ...(gateway !== undefined && { gateway }),
      ...(range !== undefined && { range }),
      ...(own.length > 0 && { auxiliary: Object.fromEntries(own) }),
    };
  };
  const v4 = partsOf<Ipv4, Prefix4>(4);
  const v6 = partsOf<Ipv6, Prefix6>(6);
  const wantsV6 = ipv6 || prefix6 !== undefined;
  if (!wantsV6 && Object.keys(v6).length > 0) {
    throw new WeftError('usage', 'an IPv6 address is given, and no IPv6 subnet', {
      remedy: 'add --ipv6 or --subnet6',
    });
  }
  return {
    name,
    ...(vni !== 0 && { vni }),
    ...(mtu !== 0 && { mtu }),
    ...(internal && { internal }),
    v4: { ...(prefix && { prefix }), ...v4 },
    ...(wantsV6 && { v6: { ...(prefix6 && { prefix: prefix6 }), ...v6 } }),
  };
}

function readOf<P extends Prefix>(flagName: string, given: string, family: 4 | 6): P | undefined {
  if (given === '') return undefined;
  const isOurs = (it: Prefix | undefined): it is P => it?.family === family;
  return read(
    flagName,
    given,
    (text) => {
      const prefix = parsePrefix(text);
      return isOurs(prefix) ? prefix : undefined;
    },
    `an IPv${family} prefix`,
  );
}

function read<T>(flagName: string, given: string, parse: (text: string) => T | undefined, what: string): T {
  const value = parse(given);
  if (value !== undefined) return value;
  throw new WeftError('usage', `--${flagName} ${given} is not ${what}`);
}

function readAuxiliary(given: string): [name: string, ip: Ip] {
  const [, name, address = ''] = /^([^=\s]+)=(.+)$/.exec(given) ?? [];
  const ip = parseIp(address);
  if (name !== undefined && ip !== undefined) return [name, ip];
  throw new WeftError('usage', `--aux ${given} is not NAME=IP`);
}

function atMostOne<T>(flagName: string, family: 4 | 6, values: readonly T[]): T | undefined {
  if (values.length <= 1) return values[0];
  throw new WeftError('usage', `--${flagName} is given ${values.length} times for IPv${family}`);
}
