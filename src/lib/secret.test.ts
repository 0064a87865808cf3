import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Secret } from '#src/lib/secret.ts';

test('a secret is shown nowhere, and given to those who ask for it', () => {
  const secret = new Secret('s3cr3t');
  const shown = [
    `${secret}`,
    String(secret),
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true }),
  ];
  for (const text of shown) {
    assert.match(text, /\(hidden\)/);
    assert.doesNotMatch(text, /s3cr3t/);
  }
  assert.deepEqual(Object.keys(secret), []);
  assert.equal(secret.reveal(), 's3cr3t');
});

test('two secrets are equal when their texts are', () => {
  assert.equal(new Secret('a').equals(new Secret('a')), true);
  assert.equal(new Secret('a').equals(new Secret('b')), false);
});
