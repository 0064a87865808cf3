import { WeftError } from '#src/lib/errors.ts';
import {
  containsAddress,
  equalPrefix,
  formatIp,
  formatPrefix,
  type Ipv4,
  type Ipv6,
  ipv4,
  ipv6,
  lastAddress,
  masked,
  type Prefix4,
  type Prefix6,
  parseIpv4,
  parseIpv6,
  parsePrefix4,
  parsePrefix6,
  prefix4,
} from '#src/lib/ip.ts';
import { type BackendConfig, readBackendOf } from '#src/network/backend-config.ts';
import { type ChangePlan, readChangePlan } from '#src/network/change-plan.ts';
import { excerpt, GoObject } from '#src/network/go-json.ts';
import type { Dialect } from '#src/network/lease-codec.ts';
import type { Range4, Range6, Ranges } from '#src/network/subnet-range.ts';

/** The operator's `<prefix>/config`, with defaults filled in. */
export interface NetworkConfig {
  /** The subnets of each family that the network has. */
  readonly ranges: Ranges;
  /** EnableNFTables: the rules go in as native nftables. */
  readonly nftables: boolean;
  readonly backend: BackendConfig;
  /** The change to another backend that is under way. */
  readonly change?: ChangePlan;
  /** Values that flannel HEAD refuses and v0.9.1 accepts. They are accepted here with a warning. */
  readonly warnings: readonly string[];
}

/** The longest prefix of a host's subnet: the bridge and one container need addresses. */
const LONGEST_SUBNET = 30;
const DEFAULT_SUBNET_LENGTH = 24;
const LONGEST_SUBNET6 = 126;
const DEFAULT_SUBNET_LENGTH6 = 64;
const SMALLEST_NETWORK6 = 124;

/**
 * Reads the network config as flannel does (v0.9.1 subnet/config.go, HEAD pkg/subnet/config.go): a value that
 * either version accepts is accepted, with the default of that version. A value that both refuse is refused in flannel's
 * words, followed by the field and its value. The default of SubnetLen depends on the dialect, which is that of the
 * flannels on the same registry: v0.9.1 on etcd v2, HEAD on v3.
 *
 * Throws WeftError `config`.
 */
export function parseNetworkConfig(text: string, dialect: Dialect = 'head'): NetworkConfig {
  const config = readObject(text);
  const warnings: string[] = [];
  const hasV4 = config.boolean('EnableIPv4') ?? true;
  const hasV6 = config.boolean('EnableIPv6') ?? false;
  if (!hasV4 && !hasV6) throw config.error('EnableIPv4', 'none defined stack');
  const change = readChangePlan(config);
  return {
    ranges: {
      ...(hasV4 && { v4: readRange4(config, dialect, warnings) }),
      ...(hasV6 && { v6: readRange6(config) }),
    },
    nftables: config.boolean('EnableNFTables') ?? false,
    backend: readBackendOf(config),
    ...(change !== undefined && { change }),
    warnings,
  };
}

function readRange4(config: GoObject, dialect: Dialect, warnings: string[]): Range4 {
  const network = readNetwork(config);
  const subnetLength = readSubnetLength(config, network, dialect, warnings);
  const step = 2 ** (32 - subnetLength);
  const last = ipv4(lastAddress(network) - step + 1);
  // The first subnet is left out, as flannel does: its base is the network's own address.
  const first = equalPrefix(network, prefix4(network.address, subnetLength))
    ? network.address
    : ipv4(network.address + step);
  const lowest = readBound(config, 'SubnetMin', network) ?? first;
  const highest = readBound(config, 'SubnetMax', network) ?? last;
  // v0.9.1 ignores boundaries and counts from SubnetMin. Here only whole subnets between the two are handed out.
  const subnetMin = Math.ceil(lowest / step) * step;
  const subnetMax = Math.floor(highest / step) * step;
  if (subnetMin !== lowest) warnings.push(`SubnetMin is not on a SubnetLen boundary: ${formatIp(lowest)}`);
  if (subnetMax !== highest) warnings.push(`SubnetMax is not on a SubnetLen boundary: ${formatIp(highest)}`);
  if (subnetMin > subnetMax) {
    throw config.error(
      'SubnetMin',
      `no subnet lies between SubnetMin ${formatIp(lowest)} and SubnetMax ${formatIp(highest)}`,
    );
  }
  return { network, subnetLength, subnetMin: ipv4(subnetMin), subnetMax: ipv4(subnetMax) };
}

function readObject(text: string): GoObject {
  let object: GoObject | undefined;
  try {
    object = GoObject.parse(text);
  } catch (cause) {
    // The parser's own message quotes the text as it is, line breaks included.
    throw new WeftError('config', `the network config is not JSON: ${excerpt(text)}`, { cause });
  }
  if (object === undefined)
    throw new WeftError('config', `the network config is not a JSON object: ${excerpt(text)}`);
  return object;
}

function readNetwork(config: GoObject): Prefix4 {
  const network = config.parsed('Network', parsePrefix4, 'invalid IPv4 CIDR format');
  // v0.9.1 reads an absent Network as 0.0.0.0/0, and HEAD reads 0.0.0.0/0 as an absent one.
  if (network === undefined || network.length === 0)
    throw config.error('Network', 'please define a correct Network parameter in the flannel config');
  return masked(network);
}

function readSubnetLength(config: GoObject, network: Prefix4, dialect: Dialect, warnings: string[]): number {
  const given = config.integer('SubnetLen', 0, 32);
  // In Go, 0 and an absent field are the same.
  if (given !== undefined && given !== 0) {
    if (given > LONGEST_SUBNET) throw config.error('SubnetLen', 'SubnetLen must be less than /31');
    if (given < network.length)
      throw config.error('SubnetLen', `HostSubnet is larger network than Network ${formatPrefix(network)}`);
    if (given < network.length + 2)
      warnings.push('network must be able to accommodate at least four subnets');
    return given;
  }
  const length = dialect === 'head' ? defaultOfHead(network.length) : defaultOfV091(network.length);
  if (length > LONGEST_SUBNET) {
    throw config.error('Network', 'network is too small. Minimum useful network prefix is /28');
  }
  return length;
}

const defaultOfV091 = (networkLength: number): number =>
  networkLength < 24 ? DEFAULT_SUBNET_LENGTH : networkLength + 1;
const defaultOfHead = (networkLength: number): number =>
  networkLength <= 22 ? DEFAULT_SUBNET_LENGTH : networkLength + 2;

function readBound(config: GoObject, name: 'SubnetMin' | 'SubnetMax', network: Prefix4): Ipv4 | undefined {
  const address = config.parsed(name, parseIpv4, 'invalid IPv4 address format');
  if (address === undefined) return undefined;
  if (!containsAddress(network, address))
    throw config.error(name, `${name} is not in the range of the Network`);
  return address;
}

/** Only HEAD has IPv6, so what it refuses is refused. */
function readRange6(config: GoObject): Range6 {
  const given = config.parsed('IPv6Network', parsePrefix6, 'invalid IPv6 CIDR format');
  if (given === undefined || given.length === 0)
    throw config.error('IPv6Network', 'please define a correct IPv6Network parameter in the flannel config');
  const network = masked(given);
  const subnetLength = readSubnetLength6(config, network);
  const step = 1n << BigInt(128 - subnetLength);
  // The first subnet is left out, as in IPv4.
  const lowest = readBound6(config, 'IPv6SubnetMin', network, step) ?? ipv6(network.address + step);
  const highest =
    readBound6(config, 'IPv6SubnetMax', network, step) ?? ipv6(lastAddress(network) - step + 1n);
  if (lowest > highest) {
    throw config.error(
      'IPv6SubnetMin',
      `no subnet lies between IPv6SubnetMin ${formatIp(lowest)} and IPv6SubnetMax ${formatIp(highest)}`,
    );
  }
  return { network, subnetLength, subnetMin: lowest, subnetMax: highest };
}

function readSubnetLength6(config: GoObject, network: Prefix6): number {
  const given = config.integer('IPv6SubnetLen', 0, 128);
  if (given !== undefined && given !== 0) {
    if (given > LONGEST_SUBNET6) throw config.error('IPv6SubnetLen', 'SubnetLen must be less than /127');
    if (given < network.length + 2)
      throw config.error('IPv6SubnetLen', 'network must be able to accommodate at least four subnets');
    return given;
  }
  if (network.length > SMALLEST_NETWORK6)
    throw config.error('IPv6Network', 'IPv6Network is too small. Minimum useful network prefix is /124');
  return network.length <= 62 ? DEFAULT_SUBNET_LENGTH6 : network.length + 2;
}

function readBound6(
  config: GoObject,
  name: 'IPv6SubnetMin' | 'IPv6SubnetMax',
  network: Prefix6,
  step: bigint,
): Ipv6 | undefined {
  const address = config.parsedOrNull(name, parseIpv6, 'invalid IPv6 address format');
  // Go's zero address is an absent one.
  if (address === undefined || address === 0n) return undefined;
  if (!containsAddress(network, address))
    throw config.error(name, `${name} is not in the range of the IPv6Network`);
  if (address % step !== 0n)
    throw config.error(name, `${name} is not on a SubnetLen boundary: ${formatIp(address)}`);
  return address;
}
