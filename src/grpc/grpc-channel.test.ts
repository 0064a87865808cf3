import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type CallSettings, type ChannelOptions, GrpcChannel, type Method } from '#src/grpc/grpc-channel.ts';
import { GrpcError, status } from '#src/grpc/grpc-status.ts';
import { Flag, FrameType, frame, Reason, Setting } from '#src/grpc/http2-frames.ts';
import { STREAM_WINDOW } from '#src/grpc/http2-stream.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { openStream } from '#src/sys/stream-socket.ts';
import { until } from '#src/sys/until.ts';
import { HEADERS, type Http2Peer, listenHttp2, messageOf } from '../../test/support/http2-peer.ts';

const ECHO: Method<string, string> = {
  path: '/test.Echo/Say',
  requestSerialize: (request) => Buffer.from(request),
  responseDeserialize: (bytes) => {
    if (bytes.toString() === 'junk') throw new RangeError('index out of range');
    return bytes.toString();
  },
};
const OPTIONS: ChannelOptions = {
  pingAfterMs: 6_000,
  pingAnswerMs: 3_000,
  greetingMs: 20_000,
  maxMessageBytes: 1 << 20,
};
const NEVER = new AbortController().signal;

type Script = Parameters<typeof listenHttp2>[1];

async function channelTo(t: TestContext, script: Script, clock: Clock = systemClock) {
  const { port, peers } = await listenHttp2(t, script);
  const channel = new GrpcChannel({ clock, open: openStream }, { host: '127.0.0.1', port }, OPTIONS);
  t.after(() => {
    channel.close();
  });
  const ask = (settings: CallSettings = {}, signal = NEVER) => channel.unary(ECHO, 'hello', settings, signal);
  return { channel, peers, ask };
}

/** A server that greets, and answers each request so. */
const answering =
  (answer: (peer: Http2Peer, stream: number, at: number) => void): Script =>
  (peer, at) => {
    peer.settings();
    return (stream) => answer(peer, stream, at);
  };

async function failureOf(call: Promise<unknown>): Promise<GrpcError> {
  const error = await call.then(
    (answer) => assert.fail(`it was answered: ${answer}`),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof GrpcError, String(error));
  return error;
}

const shown = ({ code, details, unsent }: GrpcError) => `${code}${unsent ? ' unsent' : ''} ${details}`;

test('a call is answered, and the next one goes over the same connection', async (t) => {
  const { ask, peers } = await channelTo(
    t,
    answering((peer, stream) => peer.answer(stream, `to ${stream}`)),
  );
  assert.equal(await ask({ metadata: { token: 'x' } }), 'to 1');
  assert.equal(await ask(), 'to 3');
  assert.equal(peers.length, 1);
  const [body] = peers[0]?.framesOf(FrameType.DATA) ?? [];
  assert.deepEqual(body?.payload, messageOf('hello'));
  assert.equal(body?.flags, Flag.END_STREAM);
});

const END = Flag.END_STREAM;
const FAULTS: readonly (readonly [string, (peer: Http2Peer, stream: number) => void, string])[] = [
  ['an error without a body', (peer, s) => peer.trailers(s, 11, 'a %25 b', HEADERS), '11 a % b'],
  [
    'an error behind a body',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, messageOf('x'));
      peer.trailers(s, 8, 'too much');
    },
    '8 too much',
  ],
  ['a status that is no number', (peer, s) => peer.trailers(s, 'x', 'y', HEADERS), '2 y'],
  [
    'a reset',
    (peer, s) => peer.reset(s, Reason.INTERNAL_ERROR),
    '13 the server ended the call: INTERNAL_ERROR',
  ],
  [
    'a reset in the middle',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, messageOf('hello').subarray(0, 7));
      peer.reset(s, Reason.CANCEL);
    },
    '1 the server ended the call: CANCEL',
  ],
  [
    'a message that is cut off',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, messageOf('hello').subarray(0, 7));
      peer.trailers(s, 0);
    },
    '13 an answer that is cut off',
  ],
  [
    'a body that ends without a status',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, messageOf('hello'), END);
    },
    '13 an answer without a status',
  ],
  ['no message', (peer, s) => peer.trailers(s, 0, '', HEADERS), '13 an answer without a message'],
  [
    'two messages',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, Buffer.concat([messageOf('a'), messageOf('b')]));
      peer.trailers(s, 0);
    },
    '13 two answers to one request',
  ],
  [
    'a message of another kind',
    (peer, s) => peer.answer(s, 'junk'),
    "13 an answer that can't be read: index out of range",
  ],
  [
    'a compressed message',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, Buffer.from([1, 0, 0, 0, 1, 7]));
    },
    '13 a message that is compressed',
  ],
  [
    'a message that says it is 4 GB',
    (peer, s) => {
      peer.headers(s);
      peer.data(s, Buffer.from([0, 255, 255, 255, 255]));
    },
    '8 Received message larger than max (4294967295 vs. 1048576)',
  ],
  [
    'a page',
    (peer, s) =>
      peer.headers(s, [
        [':status', '200'],
        ['content-type', 'text/html'],
      ]),
    '13 the server answers text/html',
  ],
  ['HTTP 404', (peer, s) => peer.headers(s, [[':status', '404']], END), '12 HTTP status 404'],
  ['HTTP 503', (peer, s) => peer.headers(s, [[':status', '503']], END), '14 HTTP status 503'],
  ['a body first', (peer, s) => peer.data(s, messageOf('x')), '13 a body without a header'],
  ['a closed connection', (peer) => peer.socket.end(), '14 connection closed'],
  [
    'a frame of 5 MB',
    (peer, s) => peer.raw(Buffer.from([0x50, 0, 0, 0, 0, 0, 0, 0, s])),
    '14 Protocol error: a frame of 5242880 bytes',
  ],
  [
    'a header block without end',
    (peer, s) => {
      peer.raw(frame(FrameType.HEADERS, 0, s, Buffer.alloc(16_000)));
      for (let n = 0; n < 5; n++) peer.raw(frame(FrameType.CONTINUATION, 0, s, Buffer.alloc(16_000)));
    },
    '14 Protocol error: a header block that is too long',
  ],
  [
    'a header block that unfolds',
    (peer, s) => {
      const field = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0xa1, 0x1e]), Buffer.alloc(4000, 'x')]);
      peer.raw(frame(FrameType.HEADERS, Flag.END_HEADERS, s, field, Buffer.alloc(12_000, 0xbe)));
    },
    '14 Protocol error: the header fields are too long',
  ],
  [
    'a header block that something interrupts',
    (peer, s) => {
      peer.raw(
        frame(FrameType.HEADERS, 0, s, Buffer.from([0x88])),
        frame(FrameType.PING, 0, 0, Buffer.alloc(8)),
      );
    },
    '14 Protocol error: a header block that is not continued',
  ],
  [
    'a stream that nobody opened',
    (peer, s) => peer.headers(s + 2),
    `14 Protocol error: a stream 3 that nobody opened`,
  ],
  [
    'a push',
    (peer, s) => peer.raw(frame(FrameType.PUSH_PROMISE, Flag.END_HEADERS, s, Buffer.alloc(8))),
    '14 Protocol error: a push that was refused',
  ],
  [
    'a window of more than there is',
    (peer) => {
      for (let n = 0; n < 2; n++)
        peer.raw(frame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 255, 255, 255])));
    },
    '14 Protocol error: a WINDOW_UPDATE that is none',
  ],
  [
    'a ping of 4 bytes',
    (peer) => peer.raw(frame(FrameType.PING, 0, 0, Buffer.alloc(4))),
    '14 Protocol error: a PING that is none',
  ],
  [
    'padding longer than its frame',
    (peer, s) => peer.raw(frame(FrameType.DATA, Flag.PADDED, s, Buffer.from([9, 0]))),
    '14 Protocol error: a padding that is none',
  ],
];
for (const [what, answer, wanted] of FAULTS) {
  test(`${what} fails the call`, async (t) => {
    const { ask } = await channelTo(t, answering(answer));
    assert.equal(shown(await failureOf(ask())), wanted);
  });
}

test('what a call fails with is not the fault of the connection: the next call is answered there', async (t) => {
  const { ask, peers } = await channelTo(
    t,
    answering((peer, stream) => {
      if (stream === 1) peer.reset(stream, Reason.INTERNAL_ERROR);
      else peer.answer(stream, 'ok');
    }),
  );
  await failureOf(ask());
  assert.equal(await ask(), 'ok');
  assert.equal(peers.length, 1);
});

test('padding, priorities, unknown frames and informational answers are left aside', async (t) => {
  const { ask } = await channelTo(
    t,
    answering((peer, s) => {
      peer.headers(s, [[':status', '103']]);
      peer.raw(frame(FrameType.PRIORITY, 0, s, Buffer.alloc(5)), frame(99, 0, 0, Buffer.alloc(100)));
      peer.headers(s);
      const padded = Buffer.concat([Buffer.from([3]), messageOf('ok'), Buffer.alloc(3)]);
      peer.data(s, padded, Flag.PADDED);
      peer.trailers(s, 0);
    }),
  );
  assert.equal(await ask(), 'ok');
});

test('a server that speaks HTTP/1 is called that, and the call was not sent', async (t) => {
  const { ask } = await channelTo(t, (peer) => {
    peer.raw(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
    return undefined;
  });
  assert.equal(shown(await failureOf(ask())), '14 unsent Protocol error: the server does not speak HTTP/2');
});

test('nothing of a call is sent before the server has greeted', async (t) => {
  const clock = new FakeClock();
  const { ask, peers } = await channelTo(t, () => undefined, clock);
  const call = failureOf(ask({ timeoutMs: 100 }));
  const types = () => peers[0]?.seen.map(({ type }) => type);
  await until(() => types()?.includes(FrameType.WINDOW_UPDATE), { what: 'our greeting' });
  await clock.advance(100);
  assert.equal((await call).code, status.DEADLINE_EXCEEDED);
  assert.deepEqual(types(), [FrameType.SETTINGS, FrameType.WINDOW_UPDATE]);
});

test('headers that are slow: the deadline ends the call, and the server hears of it', async (t) => {
  const clock = new FakeClock();
  const { ask, peers } = await channelTo(
    t,
    answering(() => {}),
    clock,
  );
  const call = failureOf(ask({ timeoutMs: 4_000 }));
  await until(() => peers[0]?.framesOf(FrameType.DATA).length === 1, { what: 'the request' });
  await clock.advance(4_000);
  assert.equal(shown(await call), '4 no answer within 4000 ms');
  await until(() => peers[0]?.framesOf(FrameType.RST_STREAM).length === 1, { what: 'the reset' });
});

test('nobody listens: the call says so, and was not sent', async () => {
  const channel = new GrpcChannel(
    { clock: systemClock, open: openStream },
    { host: '127.0.0.1', port: 1 },
    OPTIONS,
  );
  assert.match(shown(await failureOf(channel.unary(ECHO, '', {}, NEVER))), /^14 unsent .*ECONNREFUSED/);
});

test('an abort ends the call with its reason', async (t) => {
  const { ask, peers } = await channelTo(
    t,
    answering(() => {}),
  );
  const controller = new AbortController();
  const call = ask({}, controller.signal);
  await until(() => peers[0]?.framesOf(FrameType.DATA).length === 1, { what: 'the request' });
  const reason = new Error('shutting down');
  controller.abort(reason);
  await assert.rejects(call, reason);
});

test('a server that says goodbye: calls that it has are answered, others go over another connection', async (t) => {
  const { ask, peers } = await channelTo(
    t,
    answering((peer, stream, at) => {
      if (at > 0) peer.answer(stream, 'second');
      else if (stream === 3) {
        peer.goaway(1, Reason.NO_ERROR);
        peer.answer(1, 'first');
      }
    }),
  );
  assert.deepEqual(await Promise.all([ask(), ask()]), ['first', 'second']);
  await until(() => peers[0]?.closed === true, { what: 'the end of the first connection' });
  assert.equal(await ask(), 'second');
  assert.equal(peers.length, 2);
});

test('a call that is refused twice fails, and certainly was not done', async (t) => {
  const { ask, peers } = await channelTo(
    t,
    answering((peer, s) => peer.reset(s, Reason.REFUSED_STREAM)),
  );
  assert.equal(shown(await failureOf(ask())), '14 unsent the server takes no more calls');
  assert.equal(peers.length, 2);
});

test('a goodbye for a reason is the reason of what ends with it', async (t) => {
  const { ask } = await channelTo(
    t,
    answering((peer, stream) => {
      peer.goaway(stream, Reason.ENHANCE_YOUR_CALM, 'too_many_pings');
      peer.socket.end();
    }),
  );
  const why = 'the server ends the connection: ENHANCE_YOUR_CALM (too_many_pings)';
  assert.equal(shown(await failureOf(ask())), `14 ${why}`);
});

test('calls beyond what the server takes at once wait for their turn', async (t) => {
  let open = 0;
  let most = 0;
  const { ask } = await channelTo(t, (peer) => {
    peer.settings([Setting.MAX_CONCURRENT_STREAMS, 2]);
    return (stream) => {
      most = Math.max(most, ++open);
      setImmediate(() => {
        open--;
        peer.answer(stream, 'ok');
      });
    };
  });
  assert.deepEqual(await Promise.all(Array.from({ length: 9 }, () => ask())), Array(9).fill('ok'));
  assert.equal(most, 2);
});

test('a connection that was cut is found by its silence, as long as there is a call', async (t) => {
  const clock = new FakeClock();
  const { ask, peers } = await channelTo(
    t,
    answering(() => {}),
    clock,
  );
  const call = failureOf(ask());
  const pings = (flags = 0) =>
    peers[0]?.framesOf(FrameType.PING).filter((ping) => ping.flags === flags).length ?? 0;
  await until(() => peers[0]?.framesOf(FrameType.DATA).length === 1, { what: 'the request' });
  await clock.advance(6_000);
  await until(() => pings() === 1, { what: 'a ping' });
  // Any byte is a sign of life, and the server's own ping shows that it was heard.
  peers[0]?.raw(frame(FrameType.PING, 0, 0, Buffer.alloc(8)));
  await until(() => pings(Flag.ACK) === 1, { what: 'the answer to a ping' });
  await clock.advance(2_999);
  await clock.advance(1);
  await clock.advance(6_000);
  await until(() => pings() === 2, { what: 'another ping' });
  await clock.advance(3_000);
  assert.equal(shown(await call), '14 no answer to a ping: frozen or cut off');
});

test('without a call nothing is asked', async (t) => {
  const clock = new FakeClock();
  const { ask, peers } = await channelTo(
    t,
    answering((peer, stream) => peer.answer(stream, 'ok')),
    clock,
  );
  await ask();
  await clock.advance(60_000);
  assert.equal(peers[0]?.framesOf(FrameType.PING).length, 0);
  assert.deepEqual(clock.sleeping, []);
});

test('requests keep to both windows of the server', async (t) => {
  const bytes = 200_000;
  const { channel, peers } = await channelTo(t, (peer) => {
    peer.settings([Setting.INITIAL_WINDOW_SIZE, 1_000]);
    return () => {};
  });
  const call = channel.unary(ECHO, 'x'.repeat(bytes), {}, NEVER);
  const sent = () =>
    (peers[0]?.framesOf(FrameType.DATA) ?? []).reduce((sum, { payload }) => sum + payload.length, 0);
  await until(() => sent() > 0, { what: 'the request' });
  assert.equal(sent(), 1_000);
  const widen = (stream: number, by: number) => {
    const payload = Buffer.alloc(4);
    payload.writeUInt32BE(by);
    peers[0]?.raw(frame(FrameType.WINDOW_UPDATE, 0, stream, payload));
  };
  widen(1, 1 << 20);
  await until(() => sent() === 65_535, { what: 'all that the connection takes' });
  // A window may shrink below nothing (RFC 9113 §6.9.2).
  peers[0]?.settings([Setting.INITIAL_WINDOW_SIZE, 0]);
  widen(0, 1 << 20);
  await until(() => sent() === bytes + 5, { what: 'the rest' });
  peers[0]?.answer(1, 'ok');
  assert.equal(await call, 'ok');
});

test('who reads slowly is sent no more than a window, and others are answered meanwhile', async (t) => {
  let allowed = STREAM_WINDOW;
  const message = messageOf('x'.repeat(16_379));
  const { channel, ask, peers } = await channelTo(
    t,
    answering((peer, stream) => {
      if (stream !== 1) {
        peer.answer(stream, 'ok');
        return;
      }
      peer.headers(stream);
      for (; allowed >= message.length; allowed -= message.length) peer.data(stream, message);
    }),
  );
  const call = channel.duplex(ECHO);
  call.write('go');
  const answers = call[Symbol.asyncIterator]();
  assert.equal((await answers.next()).value?.length, 16_379);
  await ask();
  const updates = () =>
    (peers[0]?.framesOf(FrameType.WINDOW_UPDATE) ?? []).filter(({ stream }) => stream === 1);
  assert.deepEqual(updates(), []);
  for (let n = 1; n < STREAM_WINDOW / message.length; n++) await answers.next();
  await until(() => updates().length === 1, { what: 'more room' });
  assert.equal(updates()[0]?.payload.readUInt32BE(), STREAM_WINDOW);
  await answers.return?.(undefined);
});

test('more than the window is an error of the server', async (t) => {
  const { channel, peers } = await channelTo(
    t,
    answering((peer, stream) => {
      peer.headers(stream);
      for (let n = 0; n <= STREAM_WINDOW; n += 16_384) peer.data(stream, messageOf(Buffer.alloc(16_379)));
    }),
  );
  const answers = channel.duplex(ECHO)[Symbol.asyncIterator]();
  await answers.next();
  await until(() => peers[0]?.closed, { what: 'the end of the connection' });
  const error = await failureOf(
    (async () => {
      while (!(await answers.next()).done);
    })(),
  );
  assert.match(error.details, /more than was allowed/);
});

test('answers of a stream come in their order, and a cancelled one ends', async (t) => {
  const { channel, peers } = await channelTo(t, (peer) => {
    peer.settings();
    return (stream) => {
      peer.headers(stream);
      peer.data(stream, Buffer.concat(['a', 'b', 'c'].map((text) => messageOf(text))));
    };
  });
  const call = channel.duplex(ECHO);
  const seen: string[] = [];
  await assert.rejects(
    (async () => {
      for await (const message of call) {
        seen.push(message);
        if (message === 'c') call.cancel();
      }
    })(),
    (error) => error instanceof GrpcError && error.code === status.CANCELLED,
  );
  assert.deepEqual(seen, ['a', 'b', 'c']);
  await until(() => peers[0]?.framesOf(FrameType.RST_STREAM).length === 1, { what: 'the reset' });
});

test('a server that asks without end and reads nothing is given up', async (t) => {
  const { ask } = await channelTo(t, (peer) => {
    peer.settings();
    return () => {
      peer.socket.pause();
      const pings = Buffer.concat(
        Array.from({ length: 1_000 }, () => frame(FrameType.PING, 0, 0, Buffer.alloc(8))),
      );
      const more = (): void => {
        if (!peer.socket.destroyed) peer.socket.write(pings, more);
      };
      more();
    };
  });
  assert.match((await failureOf(ask())).details, /does not read|closed|ECONNRESET|EPIPE/);
});

test('closed: calls that are under way go on, those that have not begun fail', async (t) => {
  const { channel, ask, peers } = await channelTo(
    t,
    answering(() => {}),
  );
  const call = ask();
  await until(() => peers[0]?.framesOf(FrameType.DATA).length === 1, { what: 'the request' });
  channel.close();
  assert.equal(shown(await failureOf(ask())), '14 unsent the connection was given up');
  peers[0]?.answer(1, 'ok');
  assert.equal(await call, 'ok');
  await until(() => peers[0]?.closed === true, { what: 'the end' });
});
