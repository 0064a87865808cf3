import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as k from '#src/kernel/constants.ts';
import { linkDump } from '#src/kernel/kinds/link.ts';
import { encodeRequests, messagesIn, type Request } from '#src/kernel/message.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { systemClock } from '#src/sys/clock.ts';
import type { NetlinkSocket } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

const EEXIST = 17;

/** A socket whose kernel is the test: what is sent goes to `answer`, whose datagrams and errors are then received. */
class ScriptedSocket implements NetlinkSocket {
  readonly port = 1;
  readonly sent: Uint8Array[] = [];
  readonly #answer: (sequence: number, count: number) => readonly (Uint8Array | 'overrun')[];
  #queue: (Uint8Array | 'overrun')[] = [];
  closed = false;

  constructor(answer: (sequence: number, count: number) => readonly (Uint8Array | 'overrun')[]) {
    this.#answer = answer;
  }

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
    const messages = messagesIn(bytes);
    this.#queue.push(...this.#answer(messages[0]?.sequence ?? 0, messages.length));
  }

  async sendAside(bytes: Uint8Array): Promise<void> {
    this.send(bytes);
  }

  receive(): Uint8Array | 'overrun' | undefined {
    return this.#queue.shift();
  }

  deviceName(): undefined {}

  setMute(): void {}

  watch(): void {}

  close(): void {
    this.closed = true;
  }
}

/** A datagram of one message from the kernel. */
function message(type: number, sequence: number, body: Uint8Array, flags = 0): Uint8Array {
  const request: Request = {
    type,
    flags,
    size: body.length,
    write: (view, offset) => new Uint8Array(view.buffer).set(body, offset),
  };
  return encodeRequests([request], sequence);
}

const errno = (value: number): Uint8Array => new Uint8Array(Int32Array.of(-value, 0, 0, 0, 0).buffer);
const refusal = (sequence: number, value: number) =>
  message(k.NLMSG_ERROR, sequence, errno(value), k.NLM_F_CAPPED);
const done = (sequence: number, flags = 0) => message(k.NLMSG_DONE, sequence, errno(0), flags);
const requests = (count: number) => Array.from({ length: count }, () => linkDump());
const sendTo = (socket: ScriptedSocket, count: number) => {
  const client = new RtnetlinkClient(socket);
  return client.send(client.prepare(requests(count)));
};

test('a batch asks for one acknowledgement, and finds refusals by their place', () => {
  const socket = new ScriptedSocket((first, count) => [
    refusal(first + 1, EEXIST),
    refusal(first + count - 1, 0),
  ]);
  const results = sendTo(socket, 4);
  assert.deepEqual(
    results.map((error) => error?.errno),
    [undefined, 'EEXIST', undefined, undefined],
  );
  const acknowledged = messagesIn(socket.sent[0] ?? new Uint8Array()).map(({ flags }) => flags & k.NLM_F_ACK);
  assert.deepEqual(acknowledged, [0, 0, 0, k.NLM_F_ACK]);
});

test('answers to what was asked before are no answers to this', () => {
  const socket = new ScriptedSocket((first, count) => [
    refusal(first - 1, EEXIST),
    refusal(first + count - 1, 0),
  ]);
  const client = new RtnetlinkClient(socket);
  client.send(client.prepare(requests(2)));
  assert.deepEqual(client.send(client.prepare(requests(2))), [undefined, undefined]);
});

test('when answers were lost, nothing counts as done', () => {
  const socket = new ScriptedSocket((first, count) => [
    refusal(first, EEXIST),
    'overrun',
    refusal(first + count - 1, 0),
  ]);
  assert.deepEqual(
    sendTo(socket, 3).map((error) => error?.errno),
    ['EEXIST', 'ENOBUFS', 'ENOBUFS'],
  );
  const silent = new ScriptedSocket(() => []);
  assert.deepEqual(
    sendTo(silent, 1).map((error) => error?.errno),
    ['ENOBUFS'],
  );
});

test('a dump that changed in the middle is taken again', async () => {
  let attempts = 0;
  const socket = new ScriptedSocket((sequence) => {
    attempts++;
    const link = message(k.RTM_NEWLINK, sequence, new Uint8Array(16));
    return [link, done(sequence, attempts < 3 ? k.NLM_F_DUMP_INTR : 0)];
  });
  let found = 0;
  await new RtnetlinkClient(socket).dump(
    linkDump(),
    new TurnBudget(systemClock),
    () => {
      found = 0;
    },
    () => found++,
  );
  assert.equal(attempts, 3);
  assert.equal(found, 1);
});

for (const [what, rest] of [
  ['in its middle', (end: Uint8Array) => [end]],
  ['with its end', () => []],
] as const) {
  test(`a dump of which something was lost ${what} is taken again`, async () => {
    let attempts = 0;
    const socket = new ScriptedSocket((sequence) => {
      const link = message(k.RTM_NEWLINK, sequence, new Uint8Array(16));
      return ++attempts === 1 ? ['overrun', ...rest(done(sequence))] : [link, done(sequence)];
    });
    let found = 0;
    const visit = () => found++;
    await new RtnetlinkClient(socket).dump(linkDump(), new TurnBudget(systemClock), () => {}, visit);
    assert.deepEqual([attempts, found], [2, 1]);
  });
}

test('a dump that never holds still is given up', async () => {
  const socket = new ScriptedSocket((sequence) => [done(sequence, k.NLM_F_DUMP_INTR)]);
  await assert.rejects(
    new RtnetlinkClient(socket).dump(
      linkDump(),
      new TurnBudget(systemClock),
      () => {},
      () => {},
    ),
    { code: 'kernel-dump' },
  );
});

test('a dump that breaks off is an error and not a shorter list', async () => {
  const socket = new ScriptedSocket((sequence) => [message(k.RTM_NEWLINK, sequence, new Uint8Array(16))]);
  await assert.rejects(
    new RtnetlinkClient(socket).dump(
      linkDump(),
      new TurnBudget(systemClock),
      () => {},
      () => {},
    ),
    { code: 'kernel-dump' },
  );
});
