import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Resolvers } from '#src/driver/names/host-resolvers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { Responder } from '#src/driver/names/responder.ts';
import { parseIp, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { type QuestionOptions, question, seen, type TYPES } from '../../../test/support/dns.ts';

const BLUE = tenant('blue', '10.5.0.1/24', 'fd05::1/64');
const NEVER = new AbortController().signal;

const WEB = { ip: '10.5.0.11', names: ['blue_web_1', 'web'] };
const RECORDS = [
  WEB,
  { ip: 'fd05::b', names: WEB.names },
  { ip: '10.5.0.12', names: ['blue_web_2', 'web'] },
  { ip: '10.5.0.13', names: ['db.one'] },
  { ip: '10.5.0.14', names: ['x'.repeat(64)] },
];

function tenant(name: string, v4: string, v6: string): Tenant {
  const [four, six] = [parsePrefix4(v4), parsePrefix6(v6)];
  assert.ok(four !== undefined && six !== undefined);
  const rest = { auxiliary: {} };
  return {
    name,
    vni: 70_001,
    internal: false,
    subnets: {
      v4: { prefix: four, gateway: four.address, ...rest },
      v6: { prefix: six, gateway: six.address, ...rest },
    },
  };
}

function tableOf(records: readonly { readonly ip: string; readonly names: readonly string[] }[]): NameTable {
  const table = new NameTable();
  const vtep = parseIp('192.0.2.1');
  for (const { ip: text, names } of records) {
    const ip = parseIp(text);
    assert.ok(ip !== undefined && vtep !== undefined);
    table.set({ ip, state: 'published', host: 'h1', vtep, names, keep: false, since: 0 });
  }
  return table;
}

/** Answers with a text that no DNS message is. */
const FORWARDED = Buffer.from('forwarded');
const elsewhere: Resolvers = { ask: async () => FORWARDED };

const responder = (of: Tenant = BLUE, resolvers = elsewhere, records = RECORDS): Responder =>
  new Responder({ resolvers, clock: new FakeClock() }, { tenant: of, names: tableOf(records) });

async function ask(
  name: string,
  type: keyof typeof TYPES = 'A',
  options: QuestionOptions & { readonly to?: Responder; readonly over?: 'udp' | 'tcp' } = {},
): Promise<ReturnType<typeof seen> | 'forwarded' | undefined> {
  const { to = responder(), over = 'udp', ...rest } = options;
  const bytes = await to.respond(question(name, type, rest), over, NEVER);
  return bytes === FORWARDED ? 'forwarded' : bytes && seen(bytes);
}

const codeAndRecords = async (...args: Parameters<typeof ask>): Promise<string> => {
  const answer = await ask(...args);
  return typeof answer === 'object' ? [answer.code, ...answer.records.toSorted()].join(' ') : `${answer}`;
};

test('a name of the tenant’s, in any case, with and without the suffixes', async () => {
  const all = '0 5 10.5.0.11 5 10.5.0.12';
  for (const name of ['web', 'WEB', 'web.weft', 'web.blue', 'Web.Blue.Weft.']) {
    assert.equal(await codeAndRecords(name), all, name);
  }
  assert.equal(await codeAndRecords('blue_web_2.blue'), '0 5 10.5.0.12');
  assert.equal(await codeAndRecords('db.one'), '0 5 10.5.0.13');
  assert.equal(await codeAndRecords('db.one.weft'), '0 5 10.5.0.13');
  assert.equal(await codeAndRecords('web', 'AAAA'), '0 5 fd05:0000:0000:0000:0000:0000:0000:000b');
});

test('the answer repeats id and question as they were written, and is ours', async () => {
  assert.deepEqual(await ask('wEb', 'AAAA', { id: 7, edns: 4096 }), {
    id: 7,
    flags: 'qr aa rd ra',
    code: 0,
    question: 'wEb. 28',
    records: ['5 fd05:0000:0000:0000:0000:0000:0000:000b'],
    edns: true,
  });
  const plain = await ask('web', 'A', { flags: 0 });
  assert.ok(typeof plain === 'object');
  assert.equal(plain.flags, 'qr aa ra');
  assert.equal(plain.edns, false);
});

test('a name without records of a type is not denied', async () => {
  assert.equal(await codeAndRecords('db.one', 'AAAA'), '0');
  for (const type of ['MX', 'TXT', 'HTTPS', 'NS', 'PTR'] as const)
    assert.equal(await codeAndRecords('web', type), '0', type);
  for (const name of ['weft', 'blue.weft']) assert.equal(await codeAndRecords(name), '0', name);
});

test('unknown names of ours are denied, others are forwarded', async () => {
  for (const name of ['nobody.weft', 'web.green.weft', 'a.b.weft'])
    assert.equal(await codeAndRecords(name), '3', name);
  for (const name of ['example.com', 'nobody', 'nobody.blue', 'xweft', 'web.green', '', 'weft.com'])
    assert.equal(await ask(name), 'forwarded', name);
  assert.equal(await ask('example.com', 'MX'), 'forwarded');
});

test('a label with a dot in it is not two labels', async () => {
  const bytes = question('webXweft');
  bytes[bytes.indexOf('X')] = 0x2e;
  assert.equal(await responder().respond(bytes, 'udp', NEVER), FORWARDED);
});

test('addresses of the tenant’s subnets have the container’s name, as Docker’s have; others’ are forwarded', async () => {
  assert.equal(await codeAndRecords('11.0.5.10.in-addr.arpa', 'PTR'), '0 5 blue_web_1.blue.');
  const v6 = `b${'.0'.repeat(27)}.5.0.d.f.ip6.ARPA`;
  assert.equal(await codeAndRecords(v6, 'PTR'), '0 5 blue_web_1.blue.');
  assert.equal(await codeAndRecords('11.0.5.10.in-addr.arpa', 'TXT'), '0');
  assert.equal(await codeAndRecords('99.0.5.10.in-addr.arpa', 'PTR'), '3');
  // DNS can't have its name.
  assert.equal(await codeAndRecords('14.0.5.10.in-addr.arpa', 'PTR'), '3');
  for (const name of ['11.0.6.10.in-addr.arpa', '0.5.10.in-addr.arpa', 'x.0.5.10.in-addr.arpa', '1.ip6.arpa'])
    assert.equal(await ask(name, 'PTR'), 'forwarded', name);
});

test('everything at once, transfers and other classes are refused', async () => {
  for (const type of ['ANY', 'AXFR'] as const) {
    assert.equal(await codeAndRecords('web', type), '5', type);
    assert.equal(await codeAndRecords('example.com', type), '5', type);
  }
  assert.equal(await codeAndRecords('version.bind', 'TXT', { class: 3 }), '5');
  const refused = await ask('web', 'ANY');
  assert.ok(typeof refused === 'object');
  assert.equal(refused.flags, 'qr rd ra');
});

test('an internal tenant asks nobody else', async () => {
  const to = responder(
    { ...BLUE, internal: true },
    { ask: () => Promise.reject(new Error('an internal tenant’s name went out')) },
  );
  const refused = await ask('example.com', 'A', { to });
  assert.ok(typeof refused === 'object');
  assert.equal(refused.code, 5);
  assert.equal(refused.flags, 'qr rd', 'it does not offer recursion');
  assert.equal(await codeAndRecords('web', 'A', { to }), '0 5 10.5.0.11 5 10.5.0.12');
});

const MANY = Array.from({ length: 200 }, (_, host) => ({ ip: `10.5.0.${host + 20}`, names: ['web'] })).slice(
  0,
  200,
);

test('a long answer is cut at what the caller takes, and says so; over TCP it is whole', async () => {
  for (const [options, limit] of [
    [{}, 512],
    [{ edns: 0 }, 512],
    [{ edns: 800 }, 800],
    [{ edns: 65_535 }, 1232],
  ] as const) {
    const to = responder(BLUE, elsewhere, MANY);
    const bytes = await to.respond(question('web', 'A', options), 'udp', NEVER);
    assert.ok(bytes !== undefined && bytes.length <= limit && bytes.length > limit - 16, `${bytes?.length}`);
    assert.match(seen(bytes).flags, /tc/);
  }
  const whole = await ask('web', 'A', { to: responder(BLUE, elsewhere, MANY), over: 'tcp' });
  assert.ok(typeof whole === 'object');
  assert.equal(whole.records.length, 200);
  assert.doesNotMatch(whole.flags, /tc/);
});

test('callers of a scaled service spread over its containers', async () => {
  const to = responder();
  const firsts = new Set<string | undefined>();
  for (let n = 0; n < 2; n++) {
    const answer = await ask('web', 'A', { to });
    firsts.add(typeof answer === 'object' ? answer.records[0] : undefined);
  }
  assert.equal(firsts.size, 2);
});

test('a later EDNS is refused by its code', async () => {
  assert.equal(await codeAndRecords('web', 'A', { edns: 1232, ednsVersion: 1 }), '16');
});

test('malformed questions get a code, or nothing', async () => {
  const good = question('web', 'A', { edns: 1232 });
  const changed = (change: (bytes: Buffer) => unknown): Buffer => {
    const bytes = Buffer.from(good);
    change(bytes);
    return bytes;
  };
  const cases: readonly [string, Buffer, number | undefined][] = [
    ['nothing', Buffer.alloc(0), undefined],
    ['half a header', good.subarray(0, 11), undefined],
    ['an answer', changed((bytes) => bytes.writeUInt16BE(0x8180, 2)), undefined],
    ['a notification', changed((bytes) => bytes.writeUInt16BE(0x2000, 2)), 4],
    ['only a header', good.subarray(0, 12), 1],
    ['no question', changed((bytes) => bytes.writeUInt16BE(0, 4)), 1],
    ['two questions', changed((bytes) => bytes.writeUInt16BE(2, 4)), 1],
    ['answers', changed((bytes) => bytes.writeUInt16BE(65_535, 6)), 1],
    ['more records than there are', changed((bytes) => bytes.writeUInt16BE(2, 10)), 1],
    ['65,535 records', changed((bytes) => bytes.writeUInt16BE(65_535, 10)), 1],
    ['a label that ends behind the message', changed((bytes) => (bytes[12] = 63)), 1],
    ['a pointer', changed((bytes) => bytes.writeUInt16BE(0xc000, 12)), 1],
    ['a label of a kind that there is not', changed((bytes) => (bytes[12] = 0x43)), 1],
    ['an option longer than the message', changed((bytes) => (bytes[bytes.length - 1] = 1)), 1],
    ['bytes behind the end', Buffer.concat([good, Buffer.of(0)]), 1],
    ['a name of 256 bytes', question(`${'x'.repeat(63)}.`.repeat(3) + 'x'.repeat(62)), 1],
  ];
  for (const [called, bytes, code] of cases) {
    const answer = await responder().respond(bytes, 'udp', NEVER);
    assert.equal(answer && seen(answer).code, code, called);
    if (answer !== undefined) assert.equal(seen(answer).id, 0x1234);
  }
  assert.equal(
    await ask(`${'x'.repeat(63)}.`.repeat(3) + 'x'.repeat(61)),
    'forwarded',
    'a name of 255 bytes',
  );
});

test('questions of others’ names have a bound in number and in rate; those of ours go on', async () => {
  const waiting: ((answer: Buffer) => void)[] = [];
  const clock = new FakeClock();
  const resolvers = { ask: () => new Promise<Buffer>((resolve) => waiting.push(resolve)) };
  const to = new Responder({ resolvers, clock }, { tenant: BLUE, names: tableOf(RECORDS) });
  const answers = Array.from({ length: 65 }, () => ask('example.com', 'A', { to }));
  assert.equal(waiting.length, 64);
  assert.equal(await answers[64]?.then((answer) => typeof answer === 'object' && answer.code), 2);
  assert.equal(await codeAndRecords('db.one', 'A', { to }), '0 5 10.5.0.13');
  for (const resolve of waiting) resolve(FORWARDED);
  await Promise.all(answers);
  const forwarded = async (): Promise<number> => {
    let count = 0;
    for (;;) {
      const answer = ask('example.com', 'A', { to });
      waiting.at(-1)?.(FORWARDED);
      if ((await answer) !== 'forwarded') return count;
      count++;
    }
  };
  assert.equal(await forwarded(), 400 - 64);
  await clock.advance(500);
  assert.equal(await forwarded(), 100);
});
