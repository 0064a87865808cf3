import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isKeyText, loadEd25519 } from '#src/sys/ed25519.ts';

const ed25519 = await loadEd25519();
/** RFC 8032, section 7.1, test 1. */
const RFC_SECRET = hex('9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60');
const RFC_PUBLIC = hex('d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a');
const RFC_SIGNATURE = hex(
  'e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b',
);

function hex(digits: string): string {
  return Buffer.from(digits, 'hex').toString('base64url');
}

test('keys and signatures are those of the RFC', async () => {
  const key = ed25519.read(RFC_SECRET) ?? assert.fail('no key');
  assert.equal(key.publicKey, RFC_PUBLIC);
  assert.equal(key.sign(''), RFC_SIGNATURE);
  assert.equal(key.secret(), RFC_SECRET);
  assert.ok(await ed25519.verify({ publicKey: RFC_PUBLIC, text: '', signature: RFC_SIGNATURE }));
  assert.ok(!(await ed25519.verify({ publicKey: RFC_PUBLIC, text: ' ', signature: RFC_SIGNATURE })));
});

test('a key that was made is read again from its secret', async () => {
  const key = ed25519.generate();
  const again = ed25519.read(key.secret()) ?? assert.fail('no key');
  assert.equal(again.publicKey, key.publicKey);
  const signed = { publicKey: key.publicKey, text: 'ü', signature: again.sign('ü') };
  assert.ok(await ed25519.verify(signed));
  assert.ok(!(await ed25519.verify({ ...signed, publicKey: ed25519.generate().publicKey })));
});

for (const text of ['', 'no key', `${RFC_SECRET}A`, RFC_SECRET.slice(1), 'ä'.repeat(43), `${RFC_SECRET}=`]) {
  test(`${JSON.stringify(text)} is no key`, async () => {
    assert.equal(ed25519.read(text), undefined);
    assert.equal(isKeyText(text), false);
    assert.ok(!(await ed25519.verify({ publicKey: text, text: '', signature: RFC_SIGNATURE })));
    assert.ok(!(await ed25519.verify({ publicKey: RFC_PUBLIC, text: '', signature: text })));
  });
}

test('another spelling of the same bytes is not valid', async () => {
  // 43 characters have two bits more than 32 bytes, 86 have four more than 64.
  const respelt = (text: string): string => {
    const last = text.slice(-1);
    const others = [...'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'];
    const bytes = Buffer.from(text, 'base64url');
    const other = others.find(
      (letter) => letter !== last && Buffer.from(text.slice(0, -1) + letter, 'base64url').equals(bytes),
    );
    return text.slice(0, -1) + (other ?? assert.fail('no other spelling'));
  };
  assert.equal(isKeyText(RFC_PUBLIC), true);
  assert.equal(isKeyText(respelt(RFC_PUBLIC)), false);
  const signed = { publicKey: RFC_PUBLIC, text: '', signature: RFC_SIGNATURE };
  assert.ok(!(await ed25519.verify({ ...signed, publicKey: respelt(RFC_PUBLIC) })));
  assert.ok(!(await ed25519.verify({ ...signed, signature: respelt(RFC_SIGNATURE) })));
});

test('bytes that are no key of the curve are not valid', async () => {
  for (const byte of [0x00, 0x02, 0xff]) {
    const publicKey = Buffer.alloc(32, byte).toString('base64url');
    assert.ok(!(await ed25519.verify({ publicKey, text: 'x', signature: RFC_SIGNATURE })));
  }
});

test('the digest is SHA-256', () => {
  assert.equal(
    ed25519.digest('abc'),
    hex('ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'),
  );
});
