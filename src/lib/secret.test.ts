import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { equalSecrets, Secret } from '#src/lib/secret.ts';

const BYTES = Uint8Array.from({ length: 32 }, (_, at) => at + 65);

test('a secret is hidden wherever it is printed', () => {
  const secret = Secret.copyOf(BYTES);
  const texts = [
    String(secret),
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    String(new Error(`${secret}`).message),
    JSON.stringify(Object.entries(secret)),
  ];
  for (const text of texts) {
    assert.doesNotMatch(text, /65|ABC|QUJD/);
    assert.equal(Object.keys(secret).length, 0);
  }
  assert.equal(texts[0], '(hidden)');
});

test('a secret is a copy, and is erased in place', () => {
  const source = Uint8Array.from(BYTES);
  const secret = Secret.copyOf(source);
  source.fill(0);
  const out = new Uint8Array(34);
  secret.copyTo(out, 1);
  assert.deepEqual(out.subarray(1, 33), BYTES);
  secret.erase();
  secret.copyTo(out, 1);
  assert.ok(out.every((byte) => byte === 0));
});

test('a secret of a text is given back as one', () => {
  assert.equal(Secret.ofText('schlüssel').text(), 'schlüssel');
  assert.equal(Secret.ofText('ä').length, 2);
});

test('secrets are equal by their bytes', () => {
  const other = Uint8Array.from(BYTES);
  other[31] = 0;
  assert.ok(Secret.copyOf(BYTES).equals(Secret.copyOf(BYTES)));
  assert.ok(!Secret.copyOf(BYTES).equals(Secret.copyOf(other)));
  assert.ok(!Secret.copyOf(BYTES).equals(Secret.copyOf(BYTES.subarray(1))));
  assert.ok(equalSecrets(undefined, undefined));
  assert.ok(!equalSecrets(Secret.copyOf(BYTES), undefined));
});
