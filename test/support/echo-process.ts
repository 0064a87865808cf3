import { createSocket, type Socket as Datagrams } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { parseArgs } from 'node:util';
import { loadLibc } from '#src/sys/libc.ts';

/*
 * A process that sends back all it gets, by UDP and TCP, or one that calls it: a message per millisecond and protocol.
 *
 *     echo-process.ts serve --port=7000
 *     echo-process.ts call --port=7000 --address=10.5.0.50 --ms=6000      prints "calling", and a CallReport as JSON
 *
 * SIGTERM ends a call before its time.
 */

/** What one protocol brought back. */
export interface EchoReport {
  readonly sent: number;
  readonly received: number;
  /** The longest time without an answer, in milliseconds. */
  readonly longestGapMs: number;
}

export interface CallReport {
  /** `missing`: the first numbers without an answer, of 0, 1, 2, … */
  readonly udp: EchoReport & { readonly missing: readonly number[] };
  /** In bytes; `isKept`: it was one connection, and each byte came back in its place. */
  readonly tcp: EchoReport & { readonly isKept: boolean };
}

/** Holds what comes while this process does not run, for some seconds: what is lost there is not lost on the way. */
const BUFFER = 16 << 20;
/** asm-generic/socket.h: beyond net.core.rmem_max, which is half a second of messages. */
const [SOL_SOCKET, SO_RCVBUFFORCE] = [1, 33];
/** Messages at once: a process that was kept waiting catches up in steps, for all of them might not fit into a buffer. */
const BURST = 20;
/** So long at the most for the answer to the first message. */
const FIRST_MS = 10_000;
/** Answers are waited for so long after the last message. */
const LAST_MS = 10_000;
/** Of a message by TCP: its number. */
const NUMBER_BYTES = 4;

async function serve(): Promise<void> {
  const datagrams = await openDatagrams(port);
  datagrams.on('message', (message, from) => datagrams.send(message, from.port, from.address));
  const server = createServer((socket) => {
    socket.setNoDelay(true);
    socket.on('error', () => {});
    socket.pipe(socket);
  });
  server.listen(port, '0.0.0.0');
  await once(server, 'listening');
  process.stdout.write('serving\n');
}

async function call(address: string, ms: number): Promise<CallReport> {
  const udp = new Gaps();
  const tcp = new Gaps();
  const datagrams = await openDatagrams(0);
  const answered = new Set<number>();
  datagrams.on('message', (message) => {
    udp.heard();
    answered.add(message.readUInt32BE(0));
  });
  const stream = connect({ host: address, port, noDelay: true });
  await once(stream, 'connect');
  let bytes = 0;
  let isKept = true;
  const ended = (): void => {
    isKept = false;
  };
  stream.on('error', ended);
  stream.on('end', ended);
  stream.on('data', (chunk: Buffer) => {
    tcp.heard();
    for (const byte of chunk) {
      if (byte !== byteAt(bytes++)) isKept = false;
    }
  });
  process.stdout.write('calling\n');

  let sent = 0;
  const sendUpTo = (due: number): void => {
    for (; sent < due; sent++) {
      const number = Buffer.alloc(NUMBER_BYTES);
      number.writeUInt32BE(sent);
      datagrams.send(number, port, address);
      if (isKept) stream.write(number);
    }
  };
  // The kernel drops some of many datagrams that open one flow through its address translation at the same moment.
  sendUpTo(1);
  const first = performance.now() + FIRST_MS;
  while (answered.size === 0 && performance.now() < first) await new Promise((done) => setTimeout(done, 1));
  const began = performance.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  process.once('SIGTERM', () => resolve());
  const timer = setInterval(() => {
    sendUpTo(Math.min(ms, Math.floor(performance.now() - began), sent + BURST));
    if (sent >= ms) resolve();
  }, 1);
  await promise;
  clearInterval(timer);
  const last = performance.now() + LAST_MS;
  const isDone = () => answered.size === sent && bytes === sent * NUMBER_BYTES;
  while (!isDone() && performance.now() < last) await new Promise((done) => setTimeout(done, 10));
  const missing = Array.from({ length: sent }, (_, n) => n).filter((n) => !answered.has(n));
  stream.destroy();
  datagrams.close();
  const all = sent * NUMBER_BYTES;
  return {
    udp: { sent, received: answered.size, longestGapMs: udp.longestMs, missing: missing.slice(0, 20) },
    tcp: { sent: all, received: bytes, longestGapMs: tcp.longestMs, isKept: isKept && bytes === all },
  };
}

/** Of the numbers 0, 1, 2, … one after the other. */
const byteAt = (offset: number): number =>
  (Math.floor(offset / NUMBER_BYTES) >>> (8 * (NUMBER_BYTES - 1 - (offset % NUMBER_BYTES)))) & 0xff;

async function openDatagrams(at: number): Promise<Datagrams> {
  const socket = createSocket('udp4');
  socket.bind(at);
  await once(socket, 'listening');
  const { fd } = handleOf(socket);
  const value = new Uint8Array(Int32Array.of(BUFFER).buffer);
  const { setsockopt } = await loadLibc();
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, value, value.length) < 0)
    throw new Error(`a socket with a buffer of ${BUFFER} bytes: needs CAP_NET_ADMIN`);
  return socket;
}

/** Node's own, of which it shows nothing. */
function handleOf(socket: Datagrams): { readonly fd: number } {
  const state = Object.getOwnPropertySymbols(socket).find(
    ({ description }) => description === 'state symbol',
  );
  return (
    (socket as unknown as Record<symbol, { handle: { fd: number } }>)[state ?? Symbol()]?.handle ?? { fd: -1 }
  );
}

class Gaps {
  #last: number | undefined;
  #longest = 0;

  heard(): void {
    const now = performance.now();
    if (this.#last !== undefined) this.#longest = Math.max(this.#longest, now - this.#last);
    this.#last = now;
  }

  get longestMs(): number {
    return Math.round(this.#longest * 10) / 10;
  }
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    port: { type: 'string', default: '7000' },
    address: { type: 'string', default: '' },
    ms: { type: 'string', default: '6000' },
  },
});
const port = Number(values.port);
if (positionals[0] === 'serve') await serve();
else process.stdout.write(`${JSON.stringify(await call(values.address, Number(values.ms)))}\n`);
