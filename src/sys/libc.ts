import { arch, constants as os } from 'node:os';
import { SystemError } from '#src/sys/errno.ts';

/**
 * The C library's functions that node has no door to. koffi and its native part are loaded on the first call and
 * not before (10 ms, 2 MB): a program that never touches the kernel does not pay for them.
 *
 * A mistake here is a crash and not an exception: every pointer argument goes with the length of its buffer, and
 * only the files of this folder call these.
 */
export interface Libc {
  /** socket(2) */
  socket(domain: number, type: number, protocol: number): number;
  /** bind(2) */
  bind(fd: number, address: Uint8Array, length: number): number;
  /** setsockopt(2) */
  setsockopt(fd: number, level: number, name: number, value: Uint8Array, length: number): number;
  /** getsockopt(2); `valueLength` holds one native int, read and written. */
  getsockopt(fd: number, level: number, name: number, value: Uint8Array, valueLength: Int32Array): number;
  /** setsockopt(2) with SO_ATTACH_FILTER: classic BPF, `count` instructions of 8 bytes. */
  attachFilter(fd: number, instructions: Uint8Array, count: number): number;
  /** getsockname(2); `addressLength` as in recvfrom. */
  getsockname(fd: number, address: Uint8Array, addressLength: Int32Array): number;
  /** sendto(2) */
  sendto(
    fd: number,
    bytes: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: number,
  ): number;
  /**
   * sendto(2) on a thread of libuv's pool; `done` is called in a turn of the event loop. Until then neither the bytes
   * nor the descriptor may go.
   */
  sendtoAside(
    fd: number,
    bytes: Uint8Array,
    flags: number,
    address: Uint8Array,
    done: (sent: number, errno: number) => void,
  ): void;
  /** recvfrom(2); `addressLength` holds one native int, read and written. */
  recvfrom(
    fd: number,
    buffer: Uint8Array,
    length: number,
    flags: number,
    address: Uint8Array,
    addressLength: Int32Array,
  ): number;
  /**
   * recvmsg(2). `message` is a struct msghdr whose pointers come from {@link Libc.addressOf}; the memory they point to must live as
   * long.
   */
  recvmsg(fd: number, message: Uint8Array, flags: number): number;
  /**
   * Where the bytes are in memory. They must be a view of an ArrayBuffer that was made as one: a small array that was made as such
   * may be moved by V8.
   */
  addressOf(bytes: Uint8Array): bigint;
  /** read(2) */
  read(fd: number, buffer: Uint8Array, length: number): number;
  /** write(2) */
  write(fd: number, bytes: Uint8Array, length: number): number;
  /** close(2) */
  close(fd: number): number;
  /** setns(2): moves the calling thread, nothing else. */
  setns(fd: number, type: number): number;
  /** unshare(2): with a namespace's type, it moves the calling thread, nothing else. */
  unshare(flags: number): number;
  /** mount(2) without data. */
  mount(source: string, target: string, type: string, flags: number): number;
  /** umount2(2) */
  umount(target: string, flags: number): number;
  /** ioctl(2) with a buffer, which the request's type must fit into. */
  ioctl(fd: number, request: number, argument: Uint8Array): number;
  /** bpf(2), by its number. `attributes` is a union bpf_attr whose pointers come from {@link Libc.addressOf}. */
  bpf(command: number, attributes: Uint8Array, size: number): number;
  /** madvise(2) on memory of this process. */
  madvise(address: bigint, length: bigint, advice: number): number;
  /** errno(3) of the last of these calls. */
  errno(): number;
  /**
   * libuv's poll on a descriptor. `status` is below zero when epoll reported an error: watching has
   * then stopped.
   */
  poll(fd: number, listener: (status: number) => void): PollHandle;
}

/** libuv's uv_poll_t. After `close()` it must not be touched again: koffi follows a null pointer then. */
export interface PollHandle {
  start(options: { readonly readable: true }, listener: (status: number) => void): void;
  stop(): void;
  close(): void;
}

const SOL_SOCKET = 1;
/** asm/unistd.h: the C library has no function for it. */
const SYS_BPF: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };
const SO_ATTACH_FILTER = 26;

let loaded: Promise<Libc> | undefined;

export function loadLibc(): Promise<Libc> {
  loaded ??= load();
  return loaded;
}

async function load(): Promise<Libc> {
  const koffi = await import('koffi');
  // The process itself: node is linked with the C library, whichever that is.
  const process = koffi.load(null);
  const filterProgram = koffi.struct({ count: 'uint16_t', instructions: 'const void *' });
  const setFilter = process.func('setsockopt', 'int', [
    'int',
    'int',
    'int',
    koffi.pointer(filterProgram),
    'uint32_t',
  ]);
  const sendto = process.func('intptr_t sendto(int, const void *, size_t, int, const void *, uint32_t)');
  const mount = process.func(
    'int mount(const char *, const char *, const char *, unsigned long, const void *)',
  );
  const syscall = process.func('intptr_t syscall(intptr_t, int, void *, uint32_t)');
  const bpfNumber = SYS_BPF[arch()];
  return {
    socket: process.func('int socket(int, int, int)'),
    bind: process.func('int bind(int, const void *, uint32_t)'),
    setsockopt: process.func('int setsockopt(int, int, int, const void *, uint32_t)'),
    getsockopt: process.func('int getsockopt(int, int, int, void *, void *)'),
    attachFilter: (fd, instructions, count) =>
      setFilter(fd, SOL_SOCKET, SO_ATTACH_FILTER, { count, instructions }, koffi.sizeof(filterProgram)),
    getsockname: process.func('int getsockname(int, void *, void *)'),
    sendto,
    sendtoAside: (fd, bytes, flags, address, done) =>
      sendto.async(
        fd,
        bytes,
        bytes.length,
        flags,
        address,
        address.length,
        (error: Error | null, sent: number) => {
          if (error !== null) throw error;
          done(sent, koffi.errno());
        },
      ),
    recvfrom: process.func('intptr_t recvfrom(int, void *, size_t, int, void *, void *)'),
    recvmsg: process.func('intptr_t recvmsg(int, void *, int)'),
    addressOf: (bytes) => koffi.address(bytes),
    read: process.func('intptr_t read(int, void *, size_t)'),
    write: process.func('intptr_t write(int, const void *, size_t)'),
    close: process.func('int close(int)'),
    setns: process.func('int setns(int, int)'),
    unshare: process.func('int unshare(int)'),
    mount: (source, target, type, flags) => mount(source, target, type, flags, null),
    umount: process.func('int umount2(const char *, int)'),
    ioctl: process.func('int ioctl(int, unsigned long, void *)'),
    bpf(command, attributes, size) {
      if (bpfNumber === undefined) throw new SystemError('bpf', os.errno.ENOSYS);
      return syscall(bpfNumber, command, attributes, size);
    },
    madvise: process.func('int madvise(uintptr_t, size_t, int)'),
    errno: () => koffi.errno(),
    // koffi's types lack the status, which comes first.
    poll: (fd, listener) => koffi.node.poll(fd, { readable: true }, listener as never) as never,
  };
}
