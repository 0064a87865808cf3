import { parseEnv } from 'node:util';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import {
  addressAfter,
  formatIp,
  formatPrefix,
  masked,
  type Prefix,
  type Prefix4,
  type Prefix6,
  parsePrefix,
} from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import type { Files } from '#src/sys/files.ts';

/** What Docker, CNI and the next start read in subnet.env. */
export interface SubnetFile extends PreviousNetwork {
  /** Bytes. */
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** The families of a network that a file of an earlier run names, host bits cleared. */
export interface PreviousNetwork {
  readonly networks: PerFamily<Prefix4, Prefix6>;
  /** The node's subnets; each is written as its first host address, which the bridge takes. */
  readonly subnets: PerFamily<Prefix4, Prefix6>;
}

/**
 * The text, line for line as flannel writes it: sourced by shells, read by systemd and by the CNI plugin. The lines of IPv6
 * are HEAD's (pkg/subnet/subnet.go), the others v0.9.1's.
 */
export function formatSubnetFile({ networks, subnets, mtu, ipMasq }: SubnetFile): string {
  const lines = [
    ...familyLines('FLANNEL_', networks.v4, subnets.v4),
    ...familyLines('FLANNEL_IPV6_', networks.v6, subnets.v6),
    `FLANNEL_MTU=${mtu}`,
    `FLANNEL_IPMASQ=${ipMasq}`,
  ];
  return `${lines.join('\n')}\n`;
}

function familyLines(start: string, network: Prefix | undefined, subnet: Prefix | undefined): string[] {
  if (network === undefined || subnet === undefined) return [];
  const gateway = `${formatIp(addressAfter(subnet, 1))}/${subnet.length}`;
  return [`${start}NETWORK=${formatPrefix(network)}`, `${start}SUBNET=${gateway}`];
}

/** What a file of an earlier run says of network and subnet; nothing of what it does not say readably. */
export function parseSubnetFile(text: string): PreviousNetwork {
  const values = parseEnv(text);
  const read = (name: string): Prefix | undefined => parsePrefix(values[name] ?? '');
  return {
    networks: inFamilies(read('FLANNEL_NETWORK'), read('FLANNEL_IPV6_NETWORK')),
    subnets: inFamilies(read('FLANNEL_SUBNET'), read('FLANNEL_IPV6_SUBNET')),
  };
}

const inFamilies = (v4: Prefix | undefined, v6: Prefix | undefined): PerFamily<Prefix4, Prefix6> => ({
  ...(v4?.family === 4 && { v4: masked(v4) }),
  ...(v6?.family === 6 && { v6: masked(v6) }),
});

/** What the file of an earlier run says; nothing when there is none, or it can't be read. */
export async function readSubnetFile(files: Files, path: string): Promise<PreviousNetwork> {
  const text = await files.read(path).catch(() => undefined);
  return text === undefined ? { networks: {}, subnets: {} } : parseSubnetFile(text);
}

/** Writes the file so that no reader sees a part of it; false when it says so already. Throws WeftError `subnet-file`. */
export async function writeSubnetFile(files: Files, path: string, content: SubnetFile): Promise<boolean> {
  const text = formatSubnetFile(content);
  // Written again only when it says something else: systemd path units watch it.
  if ((await files.read(path).catch(() => undefined)) === text) return false;
  try {
    await files.writeAtomically(path, text);
    return true;
  } catch (cause) {
    throw new WeftError('subnet-file', `could not write the subnet file ${path}: ${messageOf(cause)}`, {
      remedy: 'make its folder writable, or choose another with --subnet-file',
      cause,
    });
  }
}
