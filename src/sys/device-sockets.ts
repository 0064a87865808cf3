import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { endianness } from 'node:os';
import type { Duplex } from 'node:stream';
import { type Ip, isIpv4 } from '#src/lib/ip.ts';
import { SystemError } from '#src/sys/errno.ts';
import { type Libc, loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';

/** Where a server listens: on one device of one network namespace. */
export interface DevicePlace {
  /** As a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
  /** Packets of other devices do not reach the socket, and its own leave by this one (SO_BINDTODEVICE). */
  readonly device: string;
  /** Another socket may have the same address and port on another device. */
  readonly address: Ip;
  readonly port: number;
}

export interface DeviceSocket {
  /**
   * Whether namespace and device are still those that the socket was opened on. Later ones of the same names are others,
   * and nothing of them reaches the socket. The kernel reports no event for that. An open socket keeps a namespace alive
   * that has been deleted.
   */
  isAttached(): boolean;
  /** Resolves when the descriptor is gone. Safe to call twice. */
  close(): Promise<void>;
}

export interface DatagramSocket extends DeviceSocket {
  /** A datagram that can't be sent is lost, as any may be. */
  send(bytes: Uint8Array, to: DatagramPeer): void;
  /** While it is deaf, the kernel drops what arrives, which costs this process nothing. */
  deafen(deaf: boolean): void;
}

export interface DatagramPeer {
  readonly address: string;
  readonly port: number;
}

export interface ConnectionOptions {
  /** Further connections are closed at once. */
  readonly most: number;
  /** A connection on which nothing happens for so long is closed, milliseconds. */
  readonly idleMs: number;
}

/**
 * Servers on one device each. Both calls throw an error with a `code`: ENODEV without such a device, EADDRNOTAVAIL when it
 * lacks the address or that is still tentative, EADDRINUSE; and the WeftError `netns` without the namespace.
 */
export interface DeviceSockets {
  /** UDP. `onDatagram` must not throw. */
  datagrams(
    place: DevicePlace,
    onDatagram: (bytes: Buffer, from: DatagramPeer) => void,
  ): Promise<DatagramSocket>;
  /** TCP. A stream that fails is destroyed; its errors need no listener. */
  connections(
    place: DevicePlace,
    onConnection: (stream: Duplex) => void,
    options: ConnectionOptions,
  ): Promise<DeviceSocket>;
}

export const systemDeviceSockets: DeviceSockets = {
  async datagrams(place, onDatagram) {
    const libc = await loadLibc();
    const { fd, isAttached } = open(libc, place, SOCK_DGRAM);
    const socket = createSocket(isIpv4(place.address) ? 'udp4' : 'udp6');
    socket.on('message', onDatagram);
    const listening = once(socket, 'listening');
    socket.bind({ fd });
    await listening;
    // Reading fails when memory is short; `isAttached` finds what lasts.
    socket.on('error', () => {});
    const closing = closer((done) => socket.close(done));
    return {
      isAttached: () => !closing.begun() && isAttached(),
      close: closing.close,
      send(bytes, to) {
        if (!closing.begun()) socket.send(bytes, to.port, to.address, () => {});
      },
      deafen(deaf) {
        if (!closing.begun()) libc.attachFilter(fd, deaf ? DROP_ALL : ACCEPT_ALL, 1);
      },
    };
  },

  async connections(place, onConnection, { most, idleMs }) {
    const libc = await loadLibc();
    const { fd, isAttached } = open(libc, place, SOCK_STREAM);
    const streams = new Set<Socket>();
    const server = createServer({ noDelay: true }, (stream) => {
      streams.add(stream);
      stream.on('close', () => streams.delete(stream));
      stream.on('error', () => {});
      stream.setTimeout(idleMs, () => stream.destroy());
      onConnection(stream);
    });
    server.maxConnections = most;
    const listening = once(server, 'listening');
    server.listen({ fd });
    await listening;
    server.on('error', () => {});
    const closing = closer((done) => {
      server.close(done);
      for (const stream of streams) stream.destroy();
    });
    return {
      isAttached: () => !closing.begun() && isAttached(),
      close: closing.close,
    };
  },
};

const LITTLE_ENDIAN = endianness() === 'LE';
const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BINDTODEVICE = 25;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
/** linux/if.h */
const IFNAMSIZ = 16;
/** struct sockaddr_in and sockaddr_in6 (linux/in.h, linux/in6.h) */
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN6_BYTES = 28;
/** linux/filter.h: one instruction, BPF_RET | BPF_K, with the number of bytes that are let through. */
const DROP_ALL = returns(0);
const ACCEPT_ALL = returns(0xffffffff);

interface BoundSocket {
  readonly fd: number;
  /** To be asked while the descriptor is open. */
  isAttached(): boolean;
}

/** A bound socket that does not listen yet. */
function open(libc: Libc, place: DevicePlace, type: number): BoundSocket {
  const family = isIpv4(place.address) ? AF_INET : AF_INET6;
  const fd = inNetworkNamespace(libc, place.namespace, () =>
    checked(libc, 'socket', libc.socket(family, type | SOCK_CLOEXEC, 0)),
  );
  const set = (name: string, level: number, option: number, value: Uint8Array): void =>
    void checked(libc, name, libc.setsockopt(fd, level, option, value, value.length));
  try {
    const namespace = identityOf(place.namespace);
    // Before the address: a link-local one is bound by its device.
    set('SO_BINDTODEVICE', SOL_SOCKET, SO_BINDTODEVICE, Buffer.from(`${place.device}\0`));
    // Connections of an earlier server may be in TIME_WAIT. For UDP the option would let two servers share the port.
    if (type === SOCK_STREAM) set('SO_REUSEADDR', SOL_SOCKET, SO_REUSEADDR, native(1));
    if (family === AF_INET6) set('IPV6_V6ONLY', IPPROTO_IPV6, IPV6_V6ONLY, native(1));
    const address = socketAddress(place);
    checked(libc, 'bind', libc.bind(fd, address, address.length));
    return {
      fd,
      isAttached: () => boundDevice(libc, fd) === place.device && identityOf(place.namespace) === namespace,
    };
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** The kernel has the device's index and looks its name up; ENODEV once the device is gone (sock_getbindtodevice). */
function boundDevice(libc: Libc, fd: number): string | undefined {
  const name = Buffer.alloc(IFNAMSIZ);
  const length = Int32Array.of(name.length);
  if (libc.getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, length) < 0) return undefined;
  return name.toString('utf8', 0, Math.max(0, (length[0] ?? 0) - 1));
}

/** A namespace's file has an inode number that no other living namespace has (nsfs). */
function identityOf(namespace: string | undefined): number | undefined {
  return namespace === undefined ? undefined : statSync(namespace, { throwIfNoEntry: false })?.ino;
}

/** A close that happens once. The descriptor's number may be another file's from then on. */
function closer(close: (done: () => void) => void): { begun(): boolean; close(): Promise<void> } {
  let closed: Promise<void> | undefined;
  return {
    begun: () => closed !== undefined,
    close() {
      closed ??= new Promise((resolve) => close(resolve));
      return closed;
    },
  };
}

function checked(libc: Libc, syscall: string, result: number): number {
  if (result < 0) throw new SystemError(syscall, libc.errno());
  return result;
}

function socketAddress({ address, port }: DevicePlace): Uint8Array {
  const view = new DataView(new ArrayBuffer(isIpv4(address) ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES));
  view.setUint16(0, isIpv4(address) ? AF_INET : AF_INET6, LITTLE_ENDIAN);
  view.setUint16(2, port);
  if (isIpv4(address)) {
    view.setUint32(4, address);
  } else {
    view.setBigUint64(8, address >> 64n);
    view.setBigUint64(16, BigInt.asUintN(64, address));
  }
  return new Uint8Array(view.buffer);
}

function returns(length: number): Uint8Array {
  const view = new DataView(new ArrayBuffer(8));
  view.setUint16(0, 0x06, LITTLE_ENDIAN);
  view.setUint32(4, length, LITTLE_ENDIAN);
  return new Uint8Array(view.buffer);
}

const native = (value: number): Uint8Array => new Uint8Array(Int32Array.of(value).buffer);
