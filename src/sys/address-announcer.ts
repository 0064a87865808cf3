import { loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';

/** An IPv4 address on an Ethernet interface. */
export interface Announcement {
  /** The interface's ifindex. */
  readonly index: number;
  /** Its hardware address, 6 bytes. */
  readonly mac: Uint8Array;
  /** The address, 4 bytes in network order. */
  readonly address: Uint8Array;
}

/** Shows everybody on a link which hardware address an IPv4 address has now. */
export interface AddressAnnouncer {
  /** Sends one ARP announcement (RFC 5227 §2.3). Equals `arping -U -c 1 -I DEVICE ADDRESS`. Needs CAP_NET_RAW. */
  announce(announcement: Announcement): Promise<void>;
}

const AF_PACKET = 17;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const ETH_P_ARP = 0x0806;
const ARPHRD_ETHER = 1;
const ETH_P_IP = 0x0800;
const ARPOP_REQUEST = 1;
/** struct sockaddr_ll (linux/if_packet.h) */
const SOCKADDR_LL_BYTES = 20;
/** struct arphdr (linux/if_arp.h) with Ethernet and IPv4 addresses */
const ARP_BYTES = 28;

/** In a network namespace, by its file; without one in that of this process. */
export const announcerIn = (namespace?: string): AddressAnnouncer => ({
  async announce({ index, mac, address }) {
    const libc = await loadLibc();
    const open = (): number => libc.socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const fd = inNetworkNamespace(libc, namespace, open);
    if (fd < 0) throw new Error(`no packet socket: errno ${libc.errno()}`);
    try {
      const to = broadcastOn(index);
      const bytes = announcementOf(mac, address);
      if (libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT, to, to.length) < 0)
        throw new Error(`could not send: errno ${libc.errno()}`);
    } finally {
      libc.close(fd);
    }
  },
});

function broadcastOn(index: number): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_LL_BYTES);
  const native = new Uint16Array(1);
  native[0] = AF_PACKET;
  bytes.set(new Uint8Array(native.buffer), 0);
  new DataView(bytes.buffer).setUint16(2, ETH_P_ARP);
  bytes.set(new Uint8Array(Int32Array.of(index).buffer), 4);
  bytes[11] = 6;
  bytes.fill(0xff, 12, 18);
  return bytes;
}

/** Sender and target are the address: the hosts that know it take the new hardware address at once (net/ipv4/arp.c). */
function announcementOf(mac: Uint8Array, address: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(ARP_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ARPHRD_ETHER);
  view.setUint16(2, ETH_P_IP);
  bytes[4] = 6;
  bytes[5] = 4;
  view.setUint16(6, ARPOP_REQUEST);
  bytes.set(mac, 8);
  bytes.set(address, 14);
  bytes.set(address, 24);
  return bytes;
}
