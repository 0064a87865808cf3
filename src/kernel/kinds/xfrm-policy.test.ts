import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import * as k from '#src/kernel/constants.ts';
import { XFRM_POLICY_CODEC } from '#src/kernel/kinds/xfrm-policy.ts';
import { encodeRequests, messagesIn } from '#src/kernel/message.ts';
import { readEvent } from '#src/kernel/xfrm-kernel.ts';
import { type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { formatObject, type XfrmPolicy } from '#src/state/object.ts';
import type { Verb } from '#src/state/operation.ts';
import { anyPolicy } from '../../../test/support/any-object.ts';

/* Bytes that iproute2 6.1 and Linux 6.18 exchanged on a little-endian machine, taken with `strace -e write=all -e read=all`. */
const prefix = (text: string) => parsePrefix(text) as Prefix;
const ip = (text: string) => parseIp(text) as Ip;
const NAMES = { nameOf: () => undefined, indexOf: () => undefined };

const tunnel = { source: ip('192.0.2.1'), destination: ip('192.0.2.2'), requestId: 11 };
const out: XfrmPolicy = {
  kind: 'xfrm-policy',
  direction: 'out',
  source: prefix('10.5.1.0/24'),
  destination: prefix('10.5.2.0/24'),
  action: 'allow',
  priority: 0,
  tunnel,
};
const forward: XfrmPolicy = { ...out, direction: 'fwd', source: out.destination, destination: out.source };
const block: XfrmPolicy = {
  kind: 'xfrm-policy',
  direction: 'out',
  source: prefix('0.0.0.0/0'),
  destination: prefix('10.5.0.0/16'),
  action: 'block',
  priority: 2,
};
const six: XfrmPolicy = {
  ...out,
  direction: 'in',
  source: prefix('fd00:1::/64'),
  destination: prefix('fd00:2::/64'),
  tunnel: { source: ip('2001:db8::1'), destination: ip('2001:db8::2'), requestId: 11 },
};

const SENT: readonly (readonly [verb: Verb, policy: XfrmPolicy, bytes: string])[] = [
  [
    'replace',
    out,
    [
      'fc000000190005003a470a6b000000000a0502000000000000000000000000000a050100000000000000000000000000',
      '000000000000000002001818000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff',
      'ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000000000000000',
      '0000000000000000000000000000000000000000000000000000000000000000010000000000000044000500c0000202',
      '000000000000000000000000000000003200000002000000c00002010000000000000000000000000b00000001000000',
      'ffffffffffffffffffffffff',
    ].join(''),
  ],
  [
    'add',
    forward,
    [
      'fc000000130005003a470a6b000000000a0501000000000000000000000000000a050200000000000000000000000000',
      '000000000000000002001818000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff',
      'ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000000000000000',
      '0000000000000000000000000000000000000000000000000000000000000000020000000000000044000500c0000202',
      '000000000000000000000000000000003200000002000000c00002010000000000000000000000000b00000001000000',
      'ffffffffffffffffffffffff',
    ].join(''),
  ],
  [
    'add',
    block,
    [
      'b8000000130005003a470a6b000000000a05000000000000000000000000000000000000000000000000000000000000',
      '000000000000000002001000000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff',
      'ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000000000000000',
      '00000000000000000000000000000000000000000000000002000000000000000101000000000000',
    ].join(''),
  ],
  [
    'remove',
    out,
    [
      '50000000140005003a470a6b000000000a0502000000000000000000000000000a050100000000000000000000000000',
      '0000000000000000020018180000000000000000000000000000000001000000',
    ].join(''),
  ],
];

/** What `ip xfrm policy list` was answered: three policies and the end. */
const LISTED = [
  '08010000130002003a470a6b05520000fd000002000000000000000000000000fd000001000000000000000000000000',
  '00000000000000000a004040000000000000000000000000ffffffffffffffffffffffffffffffffffffffffffffffff',
  'ffffffffffffffff00000000000000000000000000000000000000000000000000000000000000000000000000000000',
  '000000000000000039470a6b000000000000000000000000000000001800000000000000000000004400050020010db8',
  '00000000000000000000000200000000320000000a00000020010db80000000000000000000000010b00000001000000',
  'ffffffffffffffffffffffff0a0010000000000000000000c4000000130002003a470a6b055200000a05000000000000',
  '000000000000000000000000000000000000000000000000000000000000000002001000000000000000000000000000',
  'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff00000000000000000000000000000000',
  '000000000000000000000000000000000000000000000000000000000000000039470a6b000000000000000000000000',
  '020000001100000001010000000000000a001000000000000000000008010000130002003a470a6b055200000a050100',
  '0000000000000000000000000a0502000000000000000000000000000000000000000000020018180000000000000000',
  '00000000ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff000000000000000000000000',
  '00000000000000000000000000000000000000000000000000000000000000000000000039470a6b0000000000000000',
  '00000000000000000a000000020000000000000044000500c00002020000000000000000000000000000000032000000',
  '02000000c00002010000000000000000000000000b00000001000000ffffffffffffffffffffffff0a00100000000000',
  '0000000014000000030002003a470a6b0552000000000000',
].join('');

/** What `ip xfrm monitor policy` heard of a removal and of a flush. */
const HEARD = [
  '4c010000140000003b470a6b00000000fd000002000000000000000000000000fd000001000000000000000000000000',
  '00000000000000000a0040400000000000000000000000000000000000000000ac000700fd0000020000000000000000',
  '00000000fd00000100000000000000000000000000000000000000000a004040000000000000000000000000ffffffff',
  'ffffffffffffffffffffffffffffffffffffffffffffffffffffffff0000000000000000000000000000000000000000',
  '0000000000000000000000000000000000000000000000000000000039470a6b00000000000000000000000000000000',
  '1800000000000000000000004400050020010db800000000000000000000000200000000320000000a00000020010db8',
  '0000000000000000000000010b00000001000000ffffffffffffffffffffffff0a00100000000000000000001c000000',
  '1d0000003b470a6b000000000a0010000000000000000000',
].join('');

function sent(verb: Verb, policy: XfrmPolicy, sequence: number): string {
  const request = XFRM_POLICY_CODEC.encode({ verb, object: policy }, NAMES);
  assert.ok(typeof request === 'object' && 'write' in request);
  return Buffer.from(encodeRequests([request], sequence, k.NLM_F_ACK)).toString('hex');
}

for (const [verb, policy, bytes] of SENT)
  test(`${verb} ${formatObject(policy)}: the bytes of iproute2`, () => {
    assert.equal(sent(verb, policy, Buffer.from(bytes, 'hex').readUInt32LE(8)), bytes);
  });

test('a list is read', () => {
  const [first, second, third] = messagesIn(Buffer.from(LISTED, 'hex')).map((message) =>
    XFRM_POLICY_CODEC.read(message, NAMES),
  );
  assert.deepEqual([first, second, third], [six, block, forward]);
});

test('removals are heard; a flush names none', () => {
  assert.deepEqual(messagesIn(Buffer.from(HEARD, 'hex')).map(readEvent), [
    { type: 'removed', object: six },
    undefined,
  ]);
});

/** Of the list's third message, with a byte of it changed. */
function changed(at: number, byte: number) {
  const bytes = Buffer.from(encodeBytes(forward));
  bytes[16 + at] = byte;
  const [message] = messagesIn(bytes);
  assert.ok(message);
  return XFRM_POLICY_CODEC.read(message, NAMES);
}

function encodeBytes(policy: XfrmPolicy): Uint8Array {
  const request = XFRM_POLICY_CODEC.encode({ verb: 'add', object: policy }, NAMES);
  assert.ok(typeof request === 'object' && 'write' in request);
  return encodeRequests([request], 1);
}

test('a policy of one port, protocol, device, user or socket is none of ours', () => {
  assert.deepEqual(changed(0, 10), forward);
  for (const at of [33, 37, 44, 48, 52]) assert.equal(changed(at, 1), undefined, String(at));
  assert.equal(changed(160, 3), undefined);
  for (const [at, byte] of [
    [42, 33],
    [43, 200],
    [40, 7],
  ] as const)
    assert.equal(changed(at, byte), undefined, String(at));
});

test('a tunnel that is none of ours is another', () => {
  const template = 168 + 4;
  for (const [at, byte] of [
    [20, 51],
    [48, 0],
    [16, 1],
    [50, 1],
  ] as const) {
    const found = changed(template + at, byte);
    assert.match(found?.other ?? '', /^tmpl proto (50|51) spi/);
    assert.equal(found?.tunnel, undefined);
  }
});

test('any policy of ours is read as it was written', () => {
  fc.assert(
    fc.property(anyPolicy, (object) => {
      fc.pre(object.other === undefined);
      const { source, destination, tunnel: through } = object;
      fc.pre(source.family === destination.family);
      fc.pre(through === undefined || typeof through.source === typeof through.destination);
      const [message] = messagesIn(encodeBytes(object));
      assert.ok(message);
      assert.deepEqual(XFRM_POLICY_CODEC.read(message, NAMES), object);
    }),
  );
});

test('bytes of any kind are read without harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.constantFrom(19, 20, 25), (body, type) => {
      const bytes = Buffer.alloc(16 + body.length);
      bytes.writeUInt32LE(bytes.length);
      bytes.writeUInt16LE(type, 4);
      bytes.set(body, 16);
      for (const message of messagesIn(bytes)) readEvent(message);
    }),
  );
});
