import { parseEnv } from 'node:util';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix, ipv4, masked, type Prefix4, type Prefix6, parsePrefix4 } from '#src/lib/ip.ts';
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

/** The text, line for line as flannel v0.9.1 writes it: sourced by shells, read by systemd and by the CNI plugin. */
export function formatSubnetFile({ networks, subnets, mtu, ipMasq }: SubnetFile): string {
  const lines: string[] = [];
  if (networks.v4 !== undefined && subnets.v4 !== undefined) {
    const gateway = { ...subnets.v4, address: ipv4(subnets.v4.address + 1) };
    lines.push(`FLANNEL_NETWORK=${formatPrefix(networks.v4)}`, `FLANNEL_SUBNET=${formatPrefix(gateway)}`);
  }
  lines.push(`FLANNEL_MTU=${mtu}`, `FLANNEL_IPMASQ=${ipMasq}`);
  return `${lines.join('\n')}\n`;
}

/** What a file of an earlier run says of network and subnet; nothing of what it does not say readably. */
export function parseSubnetFile(text: string): PreviousNetwork {
  const values = parseEnv(text);
  const [network, subnet] = [
    parsePrefix4(values.FLANNEL_NETWORK ?? ''),
    parsePrefix4(values.FLANNEL_SUBNET ?? ''),
  ];
  return {
    networks: { ...(network !== undefined && { v4: masked(network) }) },
    subnets: { ...(subnet !== undefined && { v4: masked(subnet) }) },
  };
}

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
