import { constants } from 'node:os';
import { age, destinationOf, netUnreachable } from '#src/lib/inner-packet.ts';
import { containsAddress, type Ipv4, type Prefix4 } from '#src/lib/ip.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { SOCKADDR_IN_BYTES, socketAddress } from '#src/sys/socket-address.ts';
import { openTun } from '#src/sys/tun-device.ts';
import { openUdpSocket } from '#src/sys/udp-socket.ts';
import { type SocketWatch, watchSocket } from '#src/sys/watch-socket.ts';

export interface UdpTunnelOptions {
  /** The TUN device that is made. */
  readonly device: string;
  /** Of this host, where datagrams leave and come in. */
  readonly local: Ipv4;
  /** Of both ends. */
  readonly port: number;
  /** Datagrams for other destinations are dropped: the wire has no authentication, and this host is no router for strangers. */
  readonly subnet: Prefix4;
  /** Called once when the device is gone. Nothing is carried any more, and {@link UdpTunnel.close} is still to be called. */
  readonly onEnd: (reason: string) => void;
}

/** Carries packets between a TUN device and UDP, one bare IPv4 packet in one datagram, as flannel's udp backend does. */
export interface UdpTunnel {
  /** Packets to a subnet go to this host from now on; with `undefined` they have no way. */
  route(subnet: Prefix4, to: Ipv4 | undefined): void;
  /** The device goes. Safe to call twice. */
  close(): void;
}

/** Throws a {@link SystemError}: what {@link openTun} throws; EADDRINUSE, EADDRNOTAVAIL of the socket. */
export type OpenUdpTunnel = (options: UdpTunnelOptions) => Promise<UdpTunnel>;

/** By the event loop of this thread: so many packets in one turn, and then others have theirs. */
const PACKETS_A_TURN = 32;
const LARGEST_PACKET = 65_535;
const MSG_DONTWAIT = 0x40;
const { EAGAIN, EINTR } = constants.errno;

export const openUdpTunnel: OpenUdpTunnel = async (options) => new PollingTunnel(await loadLibc(), options);

class PollingTunnel implements UdpTunnel {
  readonly #libc: Libc;
  readonly #options: UdpTunnelOptions;
  readonly #tun: number;
  readonly #socket: number;
  readonly #watches: readonly SocketWatch[];
  readonly #routes = new Routes();
  readonly #buffer = new Uint8Array(new ArrayBuffer(LARGEST_PACKET));
  readonly #from = new Uint8Array(new ArrayBuffer(SOCKADDR_IN_BYTES));
  readonly #fromLength = new Int32Array(1);
  #isClosed = false;

  constructor(libc: Libc, options: UdpTunnelOptions) {
    const { device, local, port } = options;
    this.#libc = libc;
    this.#options = options;
    this.#socket = openUdpSocket(libc, { address: local, port, checksum: true });
    try {
      this.#tun = openTun(libc, device);
    } catch (error) {
      libc.close(this.#socket);
      throw error;
    }
    this.#watches = [
      watchSocket(libc, this.#tun, () => this.#fromDevice()),
      watchSocket(libc, this.#socket, () => this.#fromPeers()),
    ];
  }

  route(subnet: Prefix4, to: Ipv4 | undefined): void {
    this.#routes.set(subnet, to === undefined ? undefined : socketAddress(to, this.#options.port));
  }

  #fromDevice(): void {
    for (let count = 0; count < PACKETS_A_TURN && !this.#isClosed; count++) {
      const size = this.#libc.read(this.#tun, this.#buffer, LARGEST_PACKET);
      if (size < 0) {
        this.#endOn(this.#libc.errno());
        return;
      }
      const packet = this.#buffer.subarray(0, size);
      const destination = destinationOf(packet);
      if (destination === undefined) continue;
      const to = this.#routes.find(destination);
      if (to === undefined) this.#refuse(packet);
      // One that can't be sent is lost, as any packet may be.
      else if (age(packet))
        this.#libc.sendto(this.#socket, packet, size, MSG_DONTWAIT, to, SOCKADDR_IN_BYTES);
    }
  }

  #fromPeers(): void {
    for (let count = 0; count < PACKETS_A_TURN && !this.#isClosed; count++) {
      this.#fromLength[0] = SOCKADDR_IN_BYTES;
      const size = this.#libc.recvfrom(
        this.#socket,
        this.#buffer,
        LARGEST_PACKET,
        MSG_DONTWAIT,
        this.#from,
        this.#fromLength,
      );
      if (size < 0) return;
      const packet = this.#buffer.subarray(0, size);
      const destination = destinationOf(packet);
      if (destination === undefined || !containsAddress(this.#options.subnet, destination)) continue;
      if (age(packet)) this.#libc.write(this.#tun, packet, size);
    }
  }

  #refuse(packet: Uint8Array): void {
    const reply = netUnreachable(packet);
    if (reply !== undefined) this.#libc.write(this.#tun, reply, reply.length);
  }

  #endOn(errno: number): void {
    if (errno === EAGAIN || errno === EINTR) return;
    const { device, onEnd } = this.#options;
    this.close();
    onEnd(`the device ${device} is gone`);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const watch of this.#watches) watch.close();
    this.#libc.close(this.#tun);
    this.#libc.close(this.#socket);
  }
}

/** Subnets that do not overlap, found by an address: one question to a map for each length that is in use. */
class Routes {
  readonly #byLength = new Map<number, Map<number, Uint8Array>>();

  set({ address, length }: Prefix4, to: Uint8Array | undefined): void {
    const subnets = this.#byLength.get(length) ?? new Map<number, Uint8Array>();
    const base = baseOf(address, length);
    if (to === undefined) subnets.delete(base);
    else subnets.set(base, to);
    if (subnets.size === 0) this.#byLength.delete(length);
    else this.#byLength.set(length, subnets);
  }

  find(address: number): Uint8Array | undefined {
    for (const [length, subnets] of this.#byLength) {
      const to = subnets.get(baseOf(address, length));
      if (to !== undefined) return to;
    }
    return undefined;
  }
}

const baseOf = (address: number, length: number): number =>
  length === 0 ? 0 : (address & (-1 << (32 - length))) >>> 0;
