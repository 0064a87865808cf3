import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Json } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { isPublicKey, readWireguardMember, writeWireguardMember } from '#src/network/wireguard-member.ts';

const keyOf = (letter: string): string => `${letter.repeat(42)}A=`;
const read = (member: Json) => readWireguardMember({ weft: { Wireguard: member } });

test('what is written is read again, through a whole lease', () => {
  const member = {
    generation: 3,
    next: { generation: 4, publicKey: keyOf('n'), port: 51_830, portV6: 51_831 },
  };
  const written = writeWireguardMember(member);
  assert.ok(written !== undefined);
  const value = encodeAttributes({ backendType: 'wireguard', weft: { Wireguard: written } });
  assert.match(
    value,
    /"Weft":\{"Wireguard":\{"Generation":3,"Next":\{"Generation":4,"PublicKey":"n+A=","Port":51830,"PortV6":51831\}\}\}\}$/,
  );
  const decoded = decodeAttributes(value);
  assert.ok(decoded.ok);
  assert.deepEqual(readWireguardMember(decoded.attributes), member);
});

test('the key of a tunnel around another backend is beside it', () => {
  const tunnel = { publicKey: keyOf('t'), port: 51_820 };
  assert.deepEqual(read(writeWireguardMember({ tunnel }) ?? null), { tunnel });
  assert.equal(writeWireguardMember({}), undefined);
});

test('what can not be read is absent, and never an error', () => {
  const good = { PublicKey: keyOf('n'), Port: 51_830, Generation: 4 };
  assert.deepEqual(readWireguardMember({}), {});
  for (const member of [null, 'x', 7, [], [good]]) assert.deepEqual(read(member as Json), {});
  assert.deepEqual(read({ Generation: 3, Next: good }).next?.publicKey, keyOf('n'));
  for (const next of [
    null,
    'x',
    { ...good, PublicKey: 'AAAA' },
    { ...good, PublicKey: keyOf('A') },
    { ...good, PublicKey: 7 },
    { ...good, Port: 0 },
    { ...good, Port: 65_536 },
    { ...good, Port: '51830' },
    { ...good, Generation: -1 },
    { ...good, Generation: 1.5 },
    { ...good, Generation: 2 ** 60 },
  ])
    assert.deepEqual(read({ Generation: 3, Next: next as Json }), { generation: 3 }, JSON.stringify(next));
  assert.deepEqual(read({ Next: good }), {}, 'a next key without a present one');
});

test('a public key is 32 bytes in base64, and not zero', () => {
  assert.ok(isPublicKey('yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk='));
  for (const text of [
    '',
    `${'A'.repeat(43)}=`,
    `${'n'.repeat(42)}B=`,
    'n'.repeat(44),
    `${'n'.repeat(41)}==`,
    undefined,
  ])
    assert.ok(!isPublicKey(text), String(text));
});
