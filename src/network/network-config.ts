import { WeftError } from '#src/lib/errors.ts';
import {
  containsAddress,
  equalPrefix,
  formatIp,
  formatPrefix,
  type Ipv4,
  ipv4,
  lastAddress,
  masked,
  type Prefix4,
  parseIpv4,
  parsePrefix4,
  prefix4,
} from '#src/lib/ip.ts';
import { excerpt, GoObject, isJsonObject } from '#src/network/go-json.ts';
import type { Dialect } from '#src/network/lease-codec.ts';
import type { Range4, Ranges } from '#src/network/subnet-range.ts';

/** The operator's `<prefix>/config`, with defaults filled in. */
export interface NetworkConfig {
  /** The subnets of each family that the network has. */
  readonly ranges: Ranges;
  /** EnableNFTables: the rules go in as native nftables. */
  readonly nftables: boolean;
  readonly backend: BackendConfig;
  /** Values that flannel HEAD refuses and v0.9.1 accepts. They are accepted here with a warning. */
  readonly warnings: readonly string[];
}

export interface BackendConfig {
  /** Lower case, as the backends are looked up. */
  readonly type: string;
  /** The backend's own options. */
  readonly options: GoObject;
}

/** The longest prefix of a host's subnet: the bridge and one container need addresses. */
const LONGEST_SUBNET = 30;
const DEFAULT_SUBNET_LENGTH = 24;

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
  if (config.boolean('EnableIPv6') === true) {
    throw config.error('EnableIPv6', 'an IPv6 network is not there yet');
  }
  if (config.boolean('EnableIPv4') === false) throw config.error('EnableIPv4', 'none defined stack');
  return {
    ranges: { v4: readRange4(config, dialect, warnings) },
    nftables: config.boolean('EnableNFTables') ?? false,
    backend: readBackend(config),
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

function readBackend(config: GoObject): BackendConfig {
  const given = config.raw('Backend');
  if (given !== undefined && given !== null && !isJsonObject(given))
    throw config.error('Backend', 'error decoding Backend property of config: it is not an object');
  // null is an object without a type, as flannel reads it.
  const options = config.object('Backend');
  // Both versions fall back to udp, although their documentation names vxlan.
  if (options === undefined) return { type: 'udp', options: new GoObject({}) };
  return { type: (options.string('Type') ?? '').toLowerCase(), options };
}
