import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WatchResponse } from '#src/etcd/rpc.ts';
import { FRAME, FrameReader, frame } from './frames.ts';
import { readWatchAnswer } from './watch-answer.ts';

test('frames are found in whatever pieces they come', () => {
  const sent = [
    frame(FRAME.data, 0, 1, Buffer.from('first')),
    frame(FRAME.ping, 1, 0, Buffer.alloc(8)),
    frame(FRAME.data, 1, 2 ** 31 - 1, Buffer.alloc(0)),
  ];
  const all = Buffer.concat(sent);
  for (let size = 1; size <= all.length; size++) {
    const found: string[] = [];
    const reader = new FrameReader();
    for (let at = 0; at < all.length; at += size) {
      reader.read(all.subarray(at, at + size), (type, flags, stream, payload) => {
        found.push(`${type} ${flags} ${stream} ${payload.toString('hex')}`);
      });
    }
    assert.deepEqual(found, [
      `0 0 1 ${Buffer.from('first').toString('hex')}`,
      `6 1 0 ${'00'.repeat(8)}`,
      `0 1 ${2 ** 31 - 1} `,
    ]);
  }
});

test('a watch’s answer is read as the generated decoder reads it', () => {
  const kv = {
    key: Buffer.from('/k'),
    createRevision: 1n,
    modRevision: 7n,
    version: 1n,
    value: Buffer.from('value'),
    lease: 5n,
  };
  const header = {
    clusterId: 2n ** 63n + 5n,
    memberId: 2n ** 64n - 1n,
    revision: 123_456_789_012n,
    raftTerm: 3n,
  };
  const cases = [
    WatchResponse.create({ header, watchId: 1n, created: true }),
    WatchResponse.create({ header, watchId: -1n }),
    WatchResponse.create({ header, watchId: 1n, canceled: true, cancelReason: 'no leader' }),
    WatchResponse.create({ header, watchId: 1n, compactRevision: 9n }),
    WatchResponse.create({
      header,
      watchId: 1n,
      events: [
        { type: 0, kv, prevKv: undefined },
        { type: 1, kv, prevKv: undefined },
      ],
    }),
  ];
  for (const response of cases) {
    assert.deepEqual(readWatchAnswer(Buffer.from(WatchResponse.encode(response).finish())), {
      watchId: Number(response.watchId),
      created: response.created,
      ended: response.canceled || response.compactRevision > 0n,
      revision: Number(header.revision),
      events: response.events.length,
    });
  }
});
