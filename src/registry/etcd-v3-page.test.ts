import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { KeyValue, RangeResponse } from '#src/etcd/rpc.ts';
import { type RecordPage, rangeOfRecords } from '#src/registry/etcd-v3-page.ts';

const FOLDER = '/ü/subnets/';
const { responseDeserialize: read } = rangeOfRecords(FOLDER);

/** The same through the generated code. */
function slowly(bytes: Buffer): RecordPage {
  const { header, kvs, more } = RangeResponse.decode(bytes);
  const records = kvs.map(({ key, value, createRevision, modRevision, lease }) => ({
    name: key.subarray(Buffer.byteLength(FOLDER)).toString(),
    value: value.toString(),
    revision: modRevision,
    created: createRevision,
    expiry: lease === 0n ? ({ kind: 'reservation' } as const) : ({ kind: 'leased', leaseId: lease } as const),
  }));
  return { records, revision: header?.revision, more, lastKey: kvs.at(-1)?.key };
}

const int64 = fc.bigInt({ min: -(1n << 63n), max: (1n << 63n) - 1n });
const key = fc.oneof(
  fc.string().map((name) => Buffer.from(FOLDER + name)),
  fc.uint8Array({ maxLength: 8 }).map((bytes) => Buffer.from(bytes)),
);
const answer = fc.record({
  header: fc.option(
    int64.map((revision) => ({ clusterId: 1n, memberId: 2n, revision, raftTerm: 3n })),
    {
      nil: undefined,
    },
  ),
  kvs: fc.array(
    fc
      .record({
        key,
        value: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
        createRevision: int64,
        modRevision: int64,
        version: int64,
        lease: fc.oneof(int64, fc.constant(0n)),
      })
      .map((fields) => KeyValue.create(fields)),
    { maxLength: 5 },
  ),
  more: fc.boolean(),
  count: int64,
});

test('an answer is read as the generated code reads it', () => {
  void fc.assert(
    fc.property(answer, (made) => {
      const bytes = Buffer.from(RangeResponse.encode(RangeResponse.create(made)).finish());
      assert.deepEqual(read(bytes), slowly(bytes));
    }),
  );
});

test('of an answer that is cut off or changed, it is the same or an error', () => {
  void fc.assert(
    fc.property(answer, fc.nat(), fc.nat(255), fc.boolean(), (made, place, byte, cut) => {
      const bytes = Buffer.from(RangeResponse.encode(RangeResponse.create(made)).finish());
      const at = place % (bytes.length + 1);
      if (!cut && at < bytes.length) bytes[at] = byte;
      try {
        read(cut ? bytes.subarray(0, at) : bytes);
      } catch (error) {
        assert.ok(error instanceof Error);
      }
    }),
    { numRuns: 1000 },
  );
});
