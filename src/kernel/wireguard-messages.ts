import {
  attributes,
  bytes,
  type Codec,
  ip,
  LITTLE_ENDIAN,
  list,
  text,
  u8,
  u16,
  u32,
} from '#src/kernel/attributes.ts';
import * as k from '#src/kernel/constants.ts';
import { GENERIC_HEADER } from '#src/kernel/generic-netlink.ts';
import { type Message, MessageLayout, type Request } from '#src/kernel/message.ts';
import { FAMILY_NUMBERS, prefixOf } from '#src/kernel/verbs.ts';
import type { Endpoint } from '#src/lib/endpoint.ts';
import { ipv4, ipv6, isIpv4, type Prefix } from '#src/lib/ip.ts';
import { equalSecrets, Secret } from '#src/lib/secret.ts';
import type { WireguardDevice } from '#src/state/kinds/wireguard-device.ts';
import type { WireguardPeer } from '#src/state/kinds/wireguard-peer.ts';

/** Bytes of a key, public, private or preshared (Curve25519, RFC 7748). */
export const WIREGUARD_KEY_BYTES = 32;
const NO_KEY = Secret.copyOf(new Uint8Array(WIREGUARD_KEY_BYTES));

const publicKey: Codec<string> = {
  size: () => WIREGUARD_KEY_BYTES,
  write: (view, offset, value) =>
    bytes.write(view, offset, Buffer.from(value, 'base64').subarray(0, WIREGUARD_KEY_BYTES)),
  read: (view, offset, size) =>
    size === WIREGUARD_KEY_BYTES
      ? Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + offset, size).toString('base64')
      : undefined,
};

const secret: Codec<Secret> = {
  size: ({ length }) => length,
  write: (view, offset, value) => value.copyTo(new Uint8Array(view.buffer, view.byteOffset + offset)),
  read(view, offset, size) {
    const own = new Uint8Array(view.buffer, view.byteOffset + offset, size);
    const value = Secret.copyOf(own);
    own.fill(0);
    return value;
  },
};

/** What is never read: it is wiped where it lies. */
const wiped: Codec<Secret> = {
  ...secret,
  read(view, offset, size) {
    new Uint8Array(view.buffer, view.byteOffset + offset, size).fill(0);
    return NO_KEY;
  },
};

/** struct sockaddr_in, struct sockaddr_in6 */
const endpoint: Codec<Endpoint> = {
  size: ({ ip }) => (isIpv4(ip) ? 16 : 28),
  write(view, offset, { ip: address, port }) {
    const v4 = isIpv4(address);
    view.setUint16(offset, v4 ? k.AF_INET : k.AF_INET6, LITTLE_ENDIAN);
    view.setUint16(offset + 2, port);
    ip.write(view, offset + (v4 ? 4 : 8), address);
  },
  read(view, offset, size) {
    if (size < 16) return undefined;
    const family = view.getUint16(offset, LITTLE_ENDIAN);
    const port = view.getUint16(offset + 2);
    if (family === k.AF_INET) return { ip: ipv4(view.getUint32(offset + 4)), port };
    if (family !== k.AF_INET6 || size < 28) return undefined;
    return { ip: ipv6((view.getBigUint64(offset + 8) << 64n) | view.getBigUint64(offset + 16)), port };
  },
};

/** struct __kernel_timespec, as milliseconds since the epoch; 0 is never. */
const timespec: Codec<number> = {
  size: () => 16,
  write() {},
  read: (view, offset, size) =>
    size < 16
      ? undefined
      : Number(view.getBigInt64(offset, LITTLE_ENDIAN)) * 1_000 +
        Number(view.getBigInt64(offset + 8, LITTLE_ENDIAN)) / 1e6,
};
const u64: Codec<number> = {
  size: () => 8,
  write() {},
  read: (view, offset, size) => (size < 8 ? undefined : Number(view.getBigUint64(offset, LITTLE_ENDIAN))),
};

const ALLOWED_IP = attributes({
  family: [k.WGALLOWEDIP_A_FAMILY, u16],
  address: [k.WGALLOWEDIP_A_IPADDR, ip],
  length: [k.WGALLOWEDIP_A_CIDR_MASK, u8],
});
const PEER = attributes({
  publicKey: [k.WGPEER_A_PUBLIC_KEY, publicKey],
  flags: [k.WGPEER_A_FLAGS, u32],
  presharedKey: [k.WGPEER_A_PRESHARED_KEY, secret],
  endpoint: [k.WGPEER_A_ENDPOINT, endpoint],
  keepalive: [k.WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL, u16],
  handshakeAt: [k.WGPEER_A_LAST_HANDSHAKE_TIME, timespec],
  received: [k.WGPEER_A_RX_BYTES, u64],
  sent: [k.WGPEER_A_TX_BYTES, u64],
  allowedIps: [k.WGPEER_A_ALLOWEDIPS, list(ALLOWED_IP)],
  protocol: [k.WGPEER_A_PROTOCOL_VERSION, u32],
});
const DEVICE = new MessageLayout(
  GENERIC_HEADER,
  attributes({
    index: [k.WGDEVICE_A_IFINDEX, u32],
    name: [k.WGDEVICE_A_IFNAME, text],
    privateKey: [k.WGDEVICE_A_PRIVATE_KEY, wiped],
    publicKey: [k.WGDEVICE_A_PUBLIC_KEY, publicKey],
    listenPort: [k.WGDEVICE_A_LISTEN_PORT, u16],
    fwmark: [k.WGDEVICE_A_FWMARK, u32],
    peers: [k.WGDEVICE_A_PEERS, list(PEER)],
  }),
);
const GET = { command: k.WG_CMD_GET_DEVICE, version: k.WG_GENL_VERSION };
const SET = { command: k.WG_CMD_SET_DEVICE, version: k.WG_GENL_VERSION };

/** `wg show DEVICE dump`. `family`: see {@link GenericFamily.id}. */
export const wireguardDump = (family: number, device: string): Request =>
  DEVICE.request(family, k.NLM_F_DUMP, GET, { name: device });

/** `wg set DEVICE private-key … listen-port … fwmark …` */
export const deviceRequest = (
  family: number,
  { device, privateKey, listenPort, fwmark }: WireguardDevice,
): Request => DEVICE.request(family, 0, SET, { name: device, privateKey, listenPort, fwmark });

/**
 * `wg set DEVICE peer KEY …`, with exactly these allowed IPs. Without an endpoint, the one it has stays. `isWithin`: the peer has
 * none but these. The kernel takes all away before it gives them again, and packets are lost in between; so they are only added
 * where nothing has to go.
 */
export function peerRequest(
  family: number,
  { device, publicKey, endpoint, allowedIps, presharedKey = NO_KEY, keepalive }: WireguardPeer,
  isWithin = false,
): Request {
  const peer = {
    publicKey,
    flags: isWithin ? 0 : k.WGPEER_F_REPLACE_ALLOWEDIPS,
    presharedKey,
    endpoint,
    keepalive,
    allowedIps: allowedIps.map(({ family: of, address, length }) => ({
      family: FAMILY_NUMBERS[of],
      address,
      length,
    })),
  };
  return DEVICE.request(family, 0, SET, { name: device, peers: [peer] });
}

/** `wg set DEVICE peer KEY remove`. The kernel takes it for done where there is no such peer. */
export const peerRemoval = (
  family: number,
  { device, publicKey }: Pick<WireguardPeer, 'device' | 'publicKey'>,
): Request =>
  DEVICE.request(family, 0, SET, { name: device, peers: [{ publicKey, flags: k.WGPEER_F_REMOVE_ME }] });

/** A peer as the kernel reports it, with its figures. */
export interface WireguardPeerReport extends WireguardPeer {
  /** Milliseconds since the epoch; 0 is never. */
  readonly handshakeAt: number;
  /** Bytes of what was received from the peer and sent to it, WireGuard's own headers included. */
  readonly received: number;
  readonly sent: number;
}

/**
 * Puts a dump of one device together from its messages: the first has the device's own fields, each has some peers, and one
 * peer's allowed IPs may go on in the next (wg_get_device_dump of drivers/net/wireguard/netlink.c).
 */
export class WireguardReader {
  device: WireguardDevice | undefined;
  readonly peers: WireguardPeerReport[] = [];
  /** One preshared key may be that of all peers. */
  #presharedKey: Secret | undefined;

  read(message: Message): void {
    const values = DEVICE.read(message)?.values;
    const { name, publicKey, listenPort, fwmark, peers = [] } = values ?? {};
    if (name !== undefined) {
      this.device = {
        kind: 'wireguard-device',
        device: name,
        publicKey: publicKey ?? '',
        listenPort: listenPort ?? 0,
        fwmark: fwmark ?? 0,
      };
    }
    for (const peer of peers) this.#addPeer(peer);
  }

  /** What was read is of a dump that did not count. */
  begin(): void {
    this.device = undefined;
    this.peers.length = 0;
  }

  #addPeer({ publicKey, presharedKey, endpoint, ...peer }: NonNullable<PeerValues>): void {
    if (publicKey === undefined || this.device === undefined) return;
    const allowedIps = (peer.allowedIps ?? []).flatMap(({ address, length }): Prefix | readonly [] =>
      address === undefined || length === undefined ? [] : (prefixOf(address, length) ?? []),
    );
    const last = this.peers.at(-1);
    if (last?.publicKey === publicKey) {
      this.peers[this.peers.length - 1] = { ...last, allowedIps: [...last.allowedIps, ...allowedIps] };
      return;
    }
    const shared = this.#intern(presharedKey);
    this.peers.push({
      kind: 'wireguard-peer',
      device: this.device.device,
      publicKey,
      ...(endpoint !== undefined && { endpoint }),
      allowedIps,
      ...(shared !== undefined && { presharedKey: shared }),
      keepalive: peer.keepalive ?? 0,
      handshakeAt: peer.handshakeAt ?? 0,
      received: peer.received ?? 0,
      sent: peer.sent ?? 0,
    });
  }

  #intern(key: Secret | undefined): Secret | undefined {
    if (key === undefined || key.equals(NO_KEY)) return undefined;
    if (!equalSecrets(key, this.#presharedKey)) this.#presharedKey = key;
    return this.#presharedKey;
  }
}

type PeerValues = ReturnType<(typeof PEER)['read']>;
