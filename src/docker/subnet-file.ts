import { parseEnv } from 'node:util';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix, ipv4, masked, type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';
import type { Files } from '#src/sys/files.ts';

/** What Docker, CNI and the next start read in subnet.env. */
export interface SubnetFile {
  readonly network: Prefix4;
  /** The node's subnet; written as its first host address, which the bridge takes. */
  readonly subnet: Prefix4;
  /** Bytes. */
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** The text, line for line as flannel v0.9.1 writes it: sourced by shells, read by systemd and by the CNI plugin. */
export function formatSubnetFile({ network, subnet, mtu, ipMasq }: SubnetFile): string {
  const gateway = { ...subnet, address: ipv4(subnet.address + 1) };
  return `${[
    `FLANNEL_NETWORK=${formatPrefix(network)}`,
    `FLANNEL_SUBNET=${formatPrefix(gateway)}`,
    `FLANNEL_MTU=${mtu}`,
    `FLANNEL_IPMASQ=${ipMasq}`,
  ].join('\n')}\n`;
}

/** What a file of an earlier run says of network and subnet, host bits cleared; nothing of what it does not say readably. */
export function parseSubnetFile(text: string): { readonly network?: Prefix4; readonly subnet?: Prefix4 } {
  const values = parseEnv(text);
  const [network, subnet] = [
    parsePrefix4(values.FLANNEL_NETWORK ?? ''),
    parsePrefix4(values.FLANNEL_SUBNET ?? ''),
  ];
  return {
    ...(network !== undefined && { network: masked(network) }),
    ...(subnet !== undefined && { subnet: masked(subnet) }),
  };
}

/** What the file of an earlier run says; nothing when there is none, or it can't be read. */
export async function readSubnetFile(
  files: Files,
  path: string,
): Promise<ReturnType<typeof parseSubnetFile>> {
  const text = await files.read(path).catch(() => undefined);
  return text === undefined ? {} : parseSubnetFile(text);
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
