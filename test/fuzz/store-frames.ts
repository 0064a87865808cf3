import { connect } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { EMPTY_SETTINGS, HTTP2_PREFACE } from '#src/store/http2-greeting.ts';
import type { Random } from './random.ts';
import { connected, hangUp, storeRounds } from './store-rounds.ts';
import type { Target } from './target.ts';

/** HTTP/2 frames (RFC 9113 section 4.1), of any type, flags and length, right and wrong. */
export const storeFrames: Target = {
  name: 'store-frames',
  description: 'random bytes and HTTP/2 frames on the port of the store',
  start: () =>
    storeRounds(async (random, store) => {
      const socket = await connected(connect(store.port, '127.0.0.1'));
      const parts: Buffer[] = random.once(8) ? [] : [HTTP2_PREFACE, EMPTY_SETTINGS, SETTINGS_ACK];
      for (let n = random.int(30); n >= 0; n--) parts.push(part(random));
      const bytes = Buffer.concat(parts);
      for (const piece of random.pieces(random.once(6) ? random.mutate(bytes) : bytes)) {
        if (socket.destroyed) break;
        socket.write(piece);
        if (random.once(4)) await turn();
      }
      await hangUp(socket, random);
    }),
};

const SETTINGS_ACK = Buffer.of(0, 0, 0, 4, 1, 0, 0, 0, 0);

function part(random: Random): Buffer {
  const stream = random.pick([0, 1, 1, 3, 5, 7, 2, random.int(0x7fffffff)]);
  switch (random.int(9)) {
    case 0:
      return random.bytes(60);
    case 1:
    case 2:
    case 3:
      return frame(random, 1, random.pick([4, 4, 5, 0, random.int(255)]), stream, request(random));
    case 4:
    case 5:
      return frame(random, 0, random.pick([0, 0, 1, random.int(255)]), stream, message(random));
    case 6:
      return frame(random, 3, 0, stream, Buffer.of(0, 0, 0, random.int(13)));
    case 7:
      return frame(random, 4, random.int(1), 0, settings(random));
    case 8:
      return frame(random, 8, 0, stream, Buffer.of(random.int(255), random.int(255), 0, random.int(255)));
    default:
      return frame(random, random.int(12), random.int(255), stream, random.bytes(80));
  }
}

function frame(random: Random, type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(random.once(40) ? random.int(0xffffff) : payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const PATHS = [
  '/etcdserverpb.KV/Range',
  '/etcdserverpb.KV/Put',
  '/etcdserverpb.KV/Txn',
  '/etcdserverpb.Watch/Watch',
  '/etcdserverpb.Lease/LeaseKeepAlive',
  '/etcdserverpb.Maintenance/Snapshot',
  '/etcdserverpb.Maintenance/Status',
  '/x/y',
] as const;

/** A header block of literals (RFC 7541 section 6.2.2), mostly a call of gRPC. */
function request(random: Random): Buffer {
  const fields: [string, string][] = [
    [':method', random.pick(['POST', 'POST', 'POST', 'GET'])],
    [':scheme', 'http'],
    [':path', random.pick(PATHS)],
    [':authority', random.pick(['a', 'http://a:1', '', '\x7f'])],
    ['content-type', random.pick(['application/grpc', 'application/grpc', 'text/plain', ''])],
    ['te', 'trailers'],
    [random.pick(['token', 'grpc-timeout', 'grpc-encoding', 'x']), random.pick(['gzip', '1n', '', 'zz'])],
  ];
  if (random.once(5)) fields.splice(random.int(6), 1);
  const block = Buffer.concat(fields.flatMap((field) => [Buffer.of(0), ...field.map(literal)]));
  return random.once(8) ? random.mutate(block) : block;
}

function literal(text: string): Buffer {
  return Buffer.concat([Buffer.of(text.length), Buffer.from(text, 'latin1')]);
}

function message(random: Random): Buffer {
  const body = random.bytes(40);
  const prefix = Buffer.alloc(5);
  prefix[0] = random.once(10) ? random.int(255) : 0;
  prefix.writeUInt32BE(random.once(8) ? random.int(0xffffffff) : body.length, 1);
  return Buffer.concat([prefix, body]);
}

function settings(random: Random): Buffer {
  const entries = Array.from({ length: random.int(4) }, () => {
    const entry = Buffer.alloc(6);
    entry.writeUInt16BE(random.int(8), 0);
    entry.writeUInt32BE(random.pick([0, 1, 65_535, 0x7fffffff, 0xffffffff]), 2);
    return entry;
  });
  return Buffer.concat(entries);
}
