import { WeftError } from '#src/lib/errors.ts';
import { formatPrefix, type Ipv4, ipv4, lastAddress, type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';
import { faultOfPrefix } from '#src/tenant/subnet-rules.ts';
import { isTenantName } from '#src/tenant/tenant-name.ts';

/** A tenant of a lab: a network of Docker's driver `weft`, with one container on each host. */
export interface LabTenant {
  readonly name: string;
  readonly subnet: Prefix4;
}

/** The network that the lab has without tenants, where one is named. */
export const FLANNEL = 'flannel';
/** That all have the same one shows that they are isolated. */
const DEFAULT_SUBNET = '10.5.0.0/24';
/** Host n's container has the address so many further on; below are the gateway, and some to play with. */
const FIRST = 10;

/** The tenants of `--network NAME[=SUBNET]`, each word one. @throws {WeftError} `lab-network` */
export function parseLabTenants(words: readonly string[], hosts: number): LabTenant[] {
  const tenants: LabTenant[] = [];
  for (const word of words) {
    const equals = word.indexOf('=');
    const name = equals < 0 ? word : word.slice(0, equals);
    const text = equals < 0 ? DEFAULT_SUBNET : word.slice(equals + 1);
    const refuse = (why: string, remedy: string): never => {
      throw new WeftError('lab-network', `cannot make the network "${word}": ${why}`, { remedy });
    };
    if (!isTenantName(name))
      refuse(`${JSON.stringify(name)} can't be a network's name`, 'use letters and digits');
    if (name === FLANNEL) refuse("that is the name of flannel's own network in a lab", 'use another name');
    if (tenants.some((it) => it.name === name))
      refuse('it is there twice', 'give each network a name of its own');
    const subnet = parsePrefix4(text);
    const fault = subnet === undefined ? `"${text}" is no IPv4 subnet` : faultOfPrefix(subnet);
    if (subnet === undefined || fault !== undefined)
      throw refuse(fault ?? '', `write ${name}=${DEFAULT_SUBNET}`);
    // The last address is the broadcast address.
    if (addressOf(subnet, hosts) >= lastAddress(subnet))
      refuse(`${formatPrefix(subnet)} is too small for ${hosts} hosts`, 'use a larger subnet');
    tenants.push({ name, subnet });
  }
  return tenants;
}

/** The address of the container on the host with this number, which counts from 1. */
export const addressOf = ({ address }: Prefix4, host: number): Ipv4 => ipv4(address + FIRST + host);
