import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  clsactRequest,
  filterRemoval,
  filterRequest,
  readClsact,
  readFilter,
  type TcFilter,
} from '#src/kernel/bpf/tc-filters.ts';
import { encodeRequests, type Message, messagesIn, type Request } from '#src/kernel/message.ts';

const messageOf = (request: Request): Message => messagesIn(encodeRequests([request], 1))[0] ?? assert.fail();
const bytesOf = (request: Request): string => {
  const { view, offset, size } = messageOf(request);
  return Buffer.from(view.buffer as ArrayBuffer, view.byteOffset + offset, size).toString('hex');
};
const filter: TcFilter = {
  ifindex: 9,
  direction: 'egress',
  priority: 0xff00,
  handle: 1,
  name: 'weft/flannel.1/note-in',
  programId: 0,
};

test('the qdisc, as `tc qdisc add dev DEVICE clsact` sends it', () => {
  assert.equal(
    bytesOf(clsactRequest(9)),
    '00000000' + '09000000' + '0000ffff' + 'f1ffffff' + '00000000' + '0b000100' + '636c736163740000',
  );
  assert.equal(readClsact(messageOf(clsactRequest(9))), 9);
});

test('a filter with direct action, at its place', () => {
  const bytes = bytesOf(filterRequest(filter, 5));
  assert.ok(
    bytes.startsWith(
      '00000000' + '09000000' + '01000000' + 'f3ffffff' + '000300ff' + '08000100' + '62706600',
    ),
  );
  assert.ok(bytes.includes('08000600' + '05000000'), 'its program');
  assert.ok(bytes.endsWith('08000800' + '01000000'), 'direct action');
});

test('a new filter must not take another’s place, and a replacement takes its own', () => {
  assert.equal(filterRequest({ ...filter, handle: 0 }, 5).flags, 0x600);
  assert.equal(filterRequest(filter, 5).flags, 0x500);
  assert.equal(filterRemoval(filter).flags, 0);
});

test('what the kernel lists without a program is no filter of BPF', () => {
  assert.equal(readFilter(messageOf(filterRequest(filter, 5))), undefined);
  assert.equal(readFilter(messageOf(clsactRequest(9))), undefined);
});
