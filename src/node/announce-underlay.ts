import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { macToBytes } from '#src/lib/mac.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';

/** Peers would send to the hardware address that they know for eight seconds more (net/ipv4/arp.c). */
export async function announceUnderlay(
  { kernel, announcer }: Pick<NetworkHost, 'kernel' | 'announcer'>,
  { name, address }: Pick<Underlay, 'name' | 'address'>,
  log: Logger,
): Promise<void> {
  try {
    const link = (await kernel.links()).find((candidate) => candidate.name === name);
    if (link?.index === undefined || link.mac === undefined) return;
    // Neighbours in IPv6 ask again by themselves when a packet gets no answer (RFC 4861 §7.3).
    if (address.v4 === undefined) return;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, address.v4);
    await announcer.announce({ index: link.index, mac: macToBytes(link.mac), address: bytes });
  } catch (error) {
    log.verbose(1, `Could not announce ${formatAddresses(address)} on ${name}: ${messageOf(error)}`);
  }
}
