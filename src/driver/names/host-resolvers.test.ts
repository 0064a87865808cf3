import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Query, readQuery } from '#src/driver/names/dns-message.ts';
import {
  HostResolvers,
  type HostResolversOptions,
  parseResolvConf,
} from '#src/driver/names/host-resolvers.ts';
import type { Exchange } from '#src/sys/exchange.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { question } from '../../../test/support/dns.ts';

const NEVER = new AbortController().signal;
const BYTES = question('Example.com', 'A', { id: 7, edns: 1232 });

function query(): Query {
  const read = readQuery(BYTES);
  assert.ok(read !== undefined && !('refused' in read));
  return read;
}

/** What a server does with a message: answers with these bytes, or fails. */
type Server = (bytes: Buffer) => Buffer | Promise<Buffer>;

/** The servers of a resolv.conf by their addresses; `asked` has each address that was asked. */
function resolversFor(
  servers: Readonly<Record<string, Server>>,
  options: HostResolversOptions = {},
): { readonly resolvers: HostResolvers; readonly asked: string[]; readonly clock: FakeClock; file: string } {
  const asked: string[] = [];
  const clock = new FakeClock();
  const ask = async (address: string, bytes: Uint8Array, signal: AbortSignal): Promise<Buffer> => {
    asked.push(address);
    const late = new Promise<never>((_, reject) =>
      signal.addEventListener('abort', () => reject(signal.reason), { once: true }),
    );
    return Promise.race([servers[address]?.(Buffer.from(bytes)) ?? late, late]);
  };
  const exchange: Exchange = {
    async datagram({ address }, bytes, accept, signal) {
      const answer = await ask(address, bytes, signal);
      return accept(answer) ? answer : await ask('silence', bytes, signal);
    },
    connection: ({ address }, bytes, signal) => ask(`tcp ${address}`, bytes, signal),
  };
  const setting = {
    asked,
    clock,
    file: Object.keys(servers)
      .map((server) => `nameserver ${server}\n`)
      .join(''),
  };
  const files = { ...systemFiles, read: async () => setting.file };
  let number = 0;
  const random = (): number => (number = (number + 0.37) % 1);
  const resolvers = new HostResolvers({ exchange, files, clock, random }, { patienceMs: 20, ...options });
  return Object.assign(setting, { resolvers });
}

const answers =
  (code = 0, change: (answer: Buffer) => Buffer = (answer) => answer): Server =>
  (bytes) => {
    const answer = Buffer.from(bytes);
    answer.writeUInt16BE(0x8180 | code, 2);
    return change(answer);
  };
const fails: Server = () => Promise.reject(new Error('connection refused'));
const silent: Server = () => new Promise(() => {});

test('the servers of a resolv.conf, at most three; the host itself without one', () => {
  const file =
    '# c\nnameserver 127.0.0.53\n nameserver\tfe80::1%eth0 # c\nnameserver x\nsearch a b\noptions edns0';
  assert.deepEqual(parseResolvConf(file), ['127.0.0.53', 'fe80::1%eth0']);
  assert.deepEqual(parseResolvConf('nameserver 192.0.2.1\n'.repeat(4)).length, 3);
  for (const text of [undefined, '', 'search a\n', 'nameserver\n'])
    assert.deepEqual(parseResolvConf(text), ['127.0.0.1']);
});

test('the answer comes under the question’s own id, and was asked for under others', async () => {
  const ids: number[] = [];
  const { resolvers } = resolversFor({
    '192.0.2.1': (bytes) => {
      ids.push(bytes.readUInt16BE(0));
      return answers()(bytes);
    },
  });
  for (let n = 0; n < 2; n++) {
    const answer = await resolvers.ask(query(), BYTES, 'udp', NEVER);
    assert.equal(answer?.readUInt16BE(0), 7);
  }
  assert.equal(new Set([...ids, 7]).size, 3);
});

test('a server that fails, is silent, or refuses is followed by the next', async () => {
  for (const first of [fails, silent, answers(2), answers(5)]) {
    const { resolvers, asked } = resolversFor({ '192.0.2.1': first, '192.0.2.2': answers(3) });
    const answer = await resolvers.ask(query(), BYTES, 'udp', NEVER);
    assert.equal(answer?.readUInt16BE(2), 0x8183);
    assert.deepEqual(asked, ['192.0.2.1', '192.0.2.2']);
  }
});

test('the refusal of the last is the answer when nobody has a better one', async () => {
  const { resolvers, asked } = resolversFor({ '192.0.2.1': answers(5), '192.0.2.2': fails });
  assert.equal((await resolvers.ask(query(), BYTES, 'udp', NEVER))?.readUInt16BE(2), 0x8185);
  assert.deepEqual(asked, ['192.0.2.1', '192.0.2.2']);
});

test('a lost datagram is sent again, and not for ever', async () => {
  const { resolvers, asked } = resolversFor({ '192.0.2.1': silent });
  assert.equal(await resolvers.ask(query(), BYTES, 'udp', NEVER), undefined);
  assert.deepEqual(asked, ['192.0.2.1', '192.0.2.1']);
});

test('forged answers are left aside', async () => {
  const swapped = (answer: Buffer): Buffer => {
    answer[13] = 0x7a;
    return answer;
  };
  const forgeries: readonly Server[] = [
    (bytes) => bytes,
    answers(0, (answer) => answer.subarray(0, 11)),
    answers(0, swapped),
    answers(0, (answer) => {
      answer[0] = (answer[0] ?? 0) ^ 1;
      return answer;
    }),
    answers(0, (answer) => {
      answer.writeUInt16BE(0, 4);
      return answer.subarray(0, 12);
    }),
  ];
  for (const forgery of forgeries) {
    for (const transport of ['udp', 'tcp'] as const) {
      const name = transport === 'udp' ? '192.0.2.1' : 'tcp 192.0.2.1';
      const { resolvers } = resolversFor({ '192.0.2.1': silent, [name]: forgery });
      assert.equal(await resolvers.ask(query(), BYTES, transport, NEVER), undefined);
    }
  }
});

test('a server may write the name in another case, and may leave a question out that it can’t read', async () => {
  const lower = (answer: Buffer): Buffer =>
    Buffer.from(answer.toString('latin1').replace('E', 'e'), 'latin1');
  const { resolvers } = resolversFor({ '192.0.2.1': answers(0, lower) });
  assert.ok(await resolvers.ask(query(), BYTES, 'udp', NEVER));
  const bare = answers(1, (answer) => {
    answer.writeUInt16BE(0, 4);
    return answer.subarray(0, 12);
  });
  assert.ok(await resolversFor({ '192.0.2.1': bare }).resolvers.ask(query(), BYTES, 'udp', NEVER));
});

test('more than may wait are not asked for', async () => {
  const { resolvers, asked } = resolversFor({ '192.0.2.1': silent }, { most: 2 });
  const two = [1, 2].map(() => resolvers.ask(query(), BYTES, 'udp', NEVER));
  assert.equal(await resolvers.ask(query(), BYTES, 'udp', NEVER), undefined);
  await Promise.all(two);
  assert.equal(asked.length, 4);
});

test('an abort ends the wait', async () => {
  const stopper = new AbortController();
  const { resolvers } = resolversFor({ '192.0.2.1': silent }, { patienceMs: 60_000, totalMs: 60_000 });
  const asking = resolvers.ask(query(), BYTES, 'udp', stopper.signal);
  stopper.abort();
  assert.equal(await asking, undefined);
});

test('the file is read again after a while', async () => {
  const setting = resolversFor({ '192.0.2.1': answers(), '192.0.2.2': answers() });
  await setting.resolvers.ask(query(), BYTES, 'udp', NEVER);
  setting.file = 'nameserver 192.0.2.2\n';
  await setting.resolvers.ask(query(), BYTES, 'udp', NEVER);
  await setting.clock.advance(6_000);
  await setting.resolvers.ask(query(), BYTES, 'udp', NEVER);
  assert.deepEqual(setting.asked, ['192.0.2.1', '192.0.2.1', '192.0.2.2']);
});
