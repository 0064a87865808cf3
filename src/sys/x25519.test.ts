import assert from 'node:assert/strict';
import { test } from 'node:test';
import { newX25519Key, x25519PublicKey } from '#src/sys/x25519.ts';

test('a public key is what the pseudocode of RFC 7748 §5 makes of the private one', () => {
  const key = Buffer.from('77076d0a7318a57d3c16c17251b26645c6f8e3a1d1e5e1f0d4f8c2f0a3b1c2d3', 'hex');
  assert.equal(
    Buffer.from(x25519PublicKey(key)).toString('hex'),
    '678871a58fee5b032476dc890401d888c075ee853083e511d84791c33c00ea6b',
  );
});

test('new keys are clamped, and each is another one', () => {
  const [a, b] = [newX25519Key(), newX25519Key()];
  assert.notDeepEqual(a, b);
  for (const key of [a, b]) {
    assert.equal((key[0] ?? 1) & 7, 0);
    assert.equal((key[31] ?? 0) & 0xc0, 0x40);
  }
});
