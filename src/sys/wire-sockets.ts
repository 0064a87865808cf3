import { ipv4 } from '#src/lib/ip.ts';
import { type Icmp, systemIcmp } from '#src/sys/icmp-socket.ts';
import { type IpSender, openIpSender } from '#src/sys/ip-sender.ts';

/** The sockets by which a host tries what arrives at another. */
export interface WireSockets {
  readonly icmp: Icmp;
  /** Sends IPv4 packets as they are. */
  readonly openSender: () => Promise<IpSender>;
}

export const systemWireSockets: WireSockets = { icmp: systemIcmp, openSender: () => openIpSender(ipv4(0)) };
