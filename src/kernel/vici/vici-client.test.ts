import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ViciClient } from '#src/kernel/vici/vici-client.ts';
import { encodeViciMessage, type ViciSection } from '#src/kernel/vici/vici-message.ts';
import * as packet from '#src/kernel/vici/vici-packet.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { UnixStream } from '#src/sys/unix-stream.ts';

const made = (type: number, name = '', message: ViciSection = {}): Uint8Array =>
  packet.encodeViciPacket({ type, name, body: encodeViciMessage(message) });
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

test('a packet is length, type, name where there is one, and message', () => {
  assert.equal(
    hex(made(packet.REQUEST, 'version')),
    `00000009 00 07 ${hex(Buffer.from('version'))}`.replaceAll(' ', ''),
  );
  assert.equal(hex(made(packet.RESPONSE, '', { a: '' })), '00000006 01 03 01 61 0000'.replaceAll(' ', ''));
});

test('packets are cut out of whatever pieces come', () => {
  const packets = [
    made(packet.EVENT, 'list-conn', { one: { a: '1' } }),
    made(packet.RESPONSE),
    made(packet.CONFIRM),
  ];
  const all = Buffer.concat(packets);
  fc.assert(
    fc.property(fc.array(fc.nat(all.length), { maxLength: 6 }), (cuts) => {
      const places = [0, ...cuts.sort((a, b) => a - b), all.length];
      const reader = new packet.ViciPackets();
      const found = places.slice(1).flatMap((end, at) => reader.take(all.subarray(places[at], end)) ?? []);
      assert.deepEqual(
        found.map(({ type, name }) => [type, name]),
        [
          [packet.EVENT, 'list-conn'],
          [packet.RESPONSE, ''],
          [packet.CONFIRM, ''],
        ],
      );
    }),
  );
});

test('a packet that is empty, too long or has no room for its name ends the reading', () => {
  for (const bytes of ['00000000', '00080001', '0000000207ff', '485454502f312e31'])
    assert.equal(new packet.ViciPackets().take(Buffer.from(bytes, 'hex')), undefined, bytes);
});

/** A charon that answers what the test says. */
class FakeCharon {
  readonly asked: string[] = [];
  answer: (asked: packet.ViciPacket) => readonly Uint8Array[] = () => [];
  readonly #packets = new packet.ViciPackets();
  #data: (chunk: Uint8Array) => void = () => {};
  #close: () => void = () => {};

  readonly stream: UnixStream = {
    listen: (data, close) => {
      [this.#data, this.#close] = [data, close];
    },
    write: (bytes) => {
      for (const asked of this.#packets.take(bytes) ?? []) {
        this.asked.push(`${asked.type} ${asked.name}`);
        const answers = this.answer(asked);
        queueMicrotask(() => {
          for (const answer of answers) this.send(answer);
        });
      }
    },
    close: () => {},
  };

  send(bytes: Uint8Array): void {
    this.#data(bytes);
  }

  die(): void {
    this.#close();
  }
}

async function connected(answer: FakeCharon['answer']) {
  const charon = new FakeCharon();
  charon.answer = answer;
  const clock = new FakeClock();
  const streams = { connect: async () => charon.stream };
  return { charon, clock, client: await ViciClient.open({ streams, clock }, '/run/charon.vici') };
}

test('commands take turns, and each has its own answer', async () => {
  const { client, charon } = await connected(({ name }) => [made(packet.RESPONSE, '', { of: name })]);
  assert.deepEqual(await Promise.all([client.request('version'), client.request('stats')]), [
    { done: true, message: { of: 'version' } },
    { done: true, message: { of: 'stats' } },
  ]);
  assert.deepEqual(charon.asked, ['0 version', '0 stats']);
});

test('a refusal is in charon’s own words', async () => {
  const answers = [
    made(packet.RESPONSE, '', { success: 'no', errmsg: 'bad owner' }),
    made(packet.RESPONSE, '', { success: 'no' }),
    made(packet.UNKNOWN_COMMAND),
  ];
  const { client } = await connected(() => answers.splice(0, 1));
  const reasons = [];
  for (let at = 0; at < 3; at++) reasons.push(await client.request('load-shared'));
  assert.deepEqual(
    reasons.map((answer) => !answer.done && answer.reason),
    ['bad owner', 'it gives no reason', 'it has no command "load-shared"'],
  );
});

test('a list is the events up to the answer, and events that are listened to go their own way', async () => {
  const { client, charon } = await connected(({ type }) =>
    type === packet.REQUEST
      ? [
          made(packet.EVENT, 'list-conn', { a: {} }),
          made(packet.EVENT, 'ike-updown', { up: 'yes' }),
          made(packet.EVENT, 'list-conn', { b: {} }),
          made(packet.RESPONSE),
        ]
      : [made(packet.CONFIRM)],
  );
  const heard: ViciSection[] = [];
  await client.listen('ike-updown', (message) => heard.push(message));
  assert.deepEqual(await client.list('list-conns', 'list-conn'), [{ a: {} }, { b: {} }]);
  assert.deepEqual(heard, [{ up: 'yes' }]);
  assert.deepEqual(charon.asked, ['3 ike-updown', '3 list-conn', '0 list-conns', '4 list-conn']);
  // With no command under way, and one that nobody asked for.
  charon.send(made(packet.EVENT, 'ike-updown', { up: 'no' }));
  charon.send(made(packet.EVENT, 'log'));
  assert.equal(heard.length, 2);
});

test('a charon that ends fails the command that waits, and those after it', async () => {
  const { client, charon } = await connected(() => []);
  const asked = client.request('version');
  await new Promise(setImmediate);
  charon.die();
  await assert.rejects(asked, { code: 'vici', message: 'cannot ask charon: charon closed the connection' });
  await assert.rejects(client.request('stats'), { code: 'vici' });
  assert.equal(client.closed.aborted, true);
});

test('a charon that hangs is given up after ten seconds', async () => {
  const { client, clock } = await connected(() => []);
  const asked = assert.rejects(client.request('version'), /does not answer "version" for 10 s/);
  await clock.advance(9_999);
  assert.equal(client.closed.aborted, false);
  await clock.advance(1);
  await asked;
});

test('what is no VICI ends the connection', async () => {
  const { client, charon } = await connected(() => []);
  const asked = client.request('version');
  await new Promise(setImmediate);
  charon.send(Buffer.from('HTTP/1.1 400 Bad Request\r\n'));
  await assert.rejects(asked, /does not speak VICI/);
});
