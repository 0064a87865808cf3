import assert from 'node:assert/strict';
import { HostResolvers, type Resolvers } from '#src/driver/names/host-resolvers.ts';
import { messagesIn } from '#src/driver/names/name-server.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { Responder } from '#src/driver/names/responder.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { systemClock } from '#src/sys/clock.ts';
import type { Exchange } from '#src/sys/exchange.ts';
import { systemFiles } from '#src/sys/files.ts';
import { question, seen, TYPES } from '../support/dns.ts';
import type { Random } from './random.ts';
import type { Target } from './target.ts';

const NEVER = new AbortController().signal;
const GATEWAY = ipv4(0x0a050001);
const SUBNET = { prefix: prefix4(ipv4(0x0a050000), 24), gateway: GATEWAY, auxiliary: {} };

const NAMES = [
  'web',
  'web.weft',
  'WEB.blue.weft',
  'example.com',
  '11.0.5.10.in-addr.arpa',
  `${'0.'.repeat(32)}ip6.arpa`,
  `${'x'.repeat(63)}.`.repeat(3) + 'x'.repeat(61),
  '',
] as const;

/**
 * Questions of containers and answers of resolvers, mutated. A container gets back nothing but an answer to its
 * question, of the length that it takes.
 */
export const dns: Target = {
  name: 'dns',
  description: 'questions for names, and what resolvers answer',
  start: () => {
    const names = new NameTable();
    for (let host = 0; host < 100; host++) {
      const rest = { state: 'published', host: 'h', vtep: GATEWAY, keep: false, since: 0 } as const;
      names.set({ ip: ipv4(GATEWAY + 10 + host), names: ['web', `c${host}`], ...rest });
    }
    return { play: (random) => round(random, names), stop() {} };
  },
};

async function round(random: Random, names: NameTable): Promise<void> {
  const resolvers = new HostResolvers(
    { exchange: hostile(random), files: systemFiles, clock: systemClock, random: () => random.next() },
    { path: '/nonexistent' },
  );
  const tenant = { name: 'blue', internal: random.once(3), subnets: { v4: SUBNET } };
  const relayed = new Set<Buffer>();
  const ask: Resolvers['ask'] = async (...asked) => {
    const answer = await resolvers.ask(...asked);
    if (answer !== undefined) relayed.add(answer);
    return answer;
  };
  const responder = new Responder({ resolvers: { ask }, clock: systemClock }, { tenant, names });
  const answered = async (bytes: Buffer): Promise<void> => {
    const transport = random.pick<'udp' | 'tcp'>(['udp', 'tcp']);
    const sent = Buffer.from(bytes);
    const answer = await responder.respond(bytes, transport, NEVER);
    assert.deepEqual(bytes, sent, 'what was sent is not written to');
    if (answer === undefined) return;
    assert.equal(answer.readUInt16BE(0), sent.readUInt16BE(0), 'the id');
    assert.ok(answer.readUInt16BE(2) >= 0x8000, 'an answer');
    if (relayed.has(answer)) return;
    assert.ok(answer.length <= (transport === 'udp' ? 1232 : 0xffff));
    assert.ok(seen(answer).records.length <= 100);
  };
  const questions = Array.from({ length: 1 + random.int(3) }, () => asked(random));
  for (const bytes of questions) await answered(bytes);
  const framed = Buffer.concat(
    questions.flatMap((bytes) => [Buffer.of(bytes.length >> 8, bytes.length & 255), bytes]),
  );
  const stream = random.once(3) ? random.mutate(framed) : framed;
  for await (const message of messagesIn(inPieces(random, stream))) await answered(message);
}

function asked(random: Random): Buffer {
  const type = random.pick(Object.keys(TYPES) as [keyof typeof TYPES]);
  const bytes = question(random.pick(NAMES), type, {
    id: random.int(0xffff),
    flags: random.once(4) ? random.int(0xffff) : 0x0100,
    class: random.once(8) ? random.int(0xffff) : 1,
    ...(random.once(2) && { edns: random.int(0xffff), ednsVersion: random.once(8) ? 1 : 0 }),
  });
  return random.once(2) ? random.mutate(bytes) : bytes;
}

/** Answers right, wrong, with another id or question, short, or not at all. */
function hostile(random: Random): Exchange {
  const answerTo = (bytes: Uint8Array): Buffer => {
    const answer = Buffer.from(bytes);
    answer.writeUInt16BE(0x8180 | random.pick([0, 0, 2, 3, 5, 15]), 2);
    return random.once(2) ? random.mutate(answer) : answer;
  };
  return {
    async datagram(_server, bytes, accept) {
      for (let tries = random.int(3); tries >= 0; tries--) {
        const answer = answerTo(bytes);
        if (accept(answer)) return answer;
      }
      throw new Error('nobody answers');
    },
    async connection(_server, bytes) {
      if (random.once(4)) throw new Error('nobody listens');
      return answerTo(bytes);
    },
  };
}

async function* inPieces(random: Random, bytes: Buffer): AsyncGenerator<Buffer> {
  yield* random.pieces(bytes);
}
