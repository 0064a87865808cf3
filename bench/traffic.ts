/**
 * One end of a data path: `traffic.ts serve KIND`, and at the other `traffic.ts send KIND ADDRESS MS`. The server says
 * `serving`, and ends by itself when the client has. Each writes what it measured as one line of JSON.
 */
import { BlockingSocket, DatagramBatch } from './blocking-socket.ts';
import { quantile } from './statistics.ts';

/** What is sent, and measured: datagrams a second, round trips in µs, connections a second, bytes a second. */
const KINDS = ['packets', 'tcp-rr', 'udp-rr', 'connections', 'stream'] as const;
export type TrafficKind = (typeof KINDS)[number];

const PORT = 7777;
const PAYLOAD = 64;
const BATCH = 64;
const BUFFER = 8 << 20;
const CHUNK = 128 << 10;
/** A server waits for its client so long, and then for its next word. */
const FIRST_MS = 10_000;
const IDLE_MS = 250;
/** Until V8 has compiled the loop, and caches are as they will be. */
const WARM_UP = 2_000;
const SECOND = 1_000;

function serve(kind: TrafficKind): object {
  const socket = new BlockingSocket(kind === 'packets' || kind === 'udp-rr' ? 'udp' : 'tcp');
  if (kind === 'packets') socket.buffers(BUFFER);
  socket.patience(FIRST_MS);
  socket.listen(PORT);
  process.stdout.write('serving\n');
  const peer = socket.accept();
  if (peer === undefined) throw new Error(`no client came within ${FIRST_MS / SECOND} s`);
  peer.patience(IDLE_MS);
  switch (kind) {
    case 'packets': {
      const batch = new DatagramBatch(BATCH, PAYLOAD);
      return { perSecond: rateOf(() => batch.receive(peer)) };
    }
    case 'stream': {
      const bytes = Buffer.alloc(CHUNK);
      return { perSecond: rateOf(() => peer.receive(bytes)) };
    }
    case 'connections':
      socket.patience(IDLE_MS);
      for (let next: BlockingSocket | undefined = peer; next !== undefined; next = socket.accept()) {
        echo(next);
        next.close();
      }
      return {};
    default:
      echo(peer);
      return {};
  }
}

/** Answers each message with the same until there are no more. */
function echo(peer: BlockingSocket): void {
  const bytes = Buffer.alloc(PAYLOAD);
  for (let got = peer.receive(bytes); got > 0; got = peer.receive(bytes)) peer.send(bytes, got);
}

/** What `take` takes a second, from its first success to the last one before it takes nothing. */
function rateOf(take: () => number): number {
  take();
  const began = performance.now();
  let last = began;
  let sum = 0;
  for (let got = take(); got > 0; got = take()) {
    sum += got;
    last = performance.now();
  }
  return (sum * SECOND) / (last - began);
}

function send(kind: TrafficKind, address: string, ms: number): object {
  const open = () => {
    const socket = new BlockingSocket(kind === 'packets' || kind === 'udp-rr' ? 'udp' : 'tcp');
    socket.connect(address, PORT);
    return socket;
  };
  const byte = Buffer.alloc(1);
  const roundTrip = (socket: BlockingSocket) => {
    socket.send(byte);
    if (socket.receive(byte) !== 1) throw new Error(`no answer from ${address}`);
  };
  switch (kind) {
    case 'packets': {
      const socket = open();
      socket.buffers(BUFFER);
      const batch = new DatagramBatch(BATCH, PAYLOAD);
      timed(ms, () => batch.send(socket));
      return {};
    }
    case 'stream': {
      const socket = open();
      const bytes = Buffer.alloc(CHUNK);
      timed(ms, () => socket.send(bytes));
      return {};
    }
    case 'connections': {
      const connection = () => {
        const socket = open();
        socket.patience(SECOND);
        roundTrip(socket);
        socket.resetOnClose();
        socket.close();
      };
      for (let n = 0; n < WARM_UP; n++) connection();
      return { perSecond: (timed(ms, connection).length * SECOND) / ms };
    }
    default: {
      const socket = open();
      socket.patience(SECOND);
      for (let n = 0; n < WARM_UP; n++) roundTrip(socket);
      const times = timed(ms, () => roundTrip(socket));
      return { p50: quantile(times, 0.5) * SECOND, p99: quantile(times, 0.99) * SECOND };
    }
  }
}

/** Repeats a task for so long; the milliseconds that each took. */
function timed(ms: number, task: () => void): number[] {
  const times = new Float64Array(Math.ceil(ms * 1_000));
  let count = 0;
  const end = performance.now() + ms;
  for (let now = performance.now(); now < end && count < times.length; ) {
    task();
    const then = performance.now();
    times[count++] = then - now;
    now = then;
  }
  return Array.from(times.subarray(0, count));
}

const [role, word, address = '', ms] = process.argv.slice(2);
const kind = KINDS.find((it) => it === word);
if (kind === undefined) throw new Error(`no traffic ${word}`);
const result = role === 'serve' ? serve(kind) : send(kind, address, Number(ms));
process.stdout.write(`${JSON.stringify(result)}\n`);
