import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { readSignature, signedText } from '#src/network/signed-lease.ts';
import { LeaseSigner } from '#src/node/lease-signer.ts';
import { loadEd25519 } from '#src/sys/ed25519.ts';

const ed25519 = await loadEd25519();
const KEY = ed25519.generate();
const NETWORK = '/coreos.com/network';
const NAME = '10.5.1.0-24';
const PLAIN: LeaseAttributes = {
  publicIp: ipv4(0xac104601),
  backendType: 'vxlan',
  backendData: { VNI: 1, VtepMAC: '02:00:00:00:00:01' },
  node: 'n1',
};

function signer(now = 1_000) {
  const clock = { time: now, now: () => clock.time };
  return { clock, signer: new LeaseSigner({ clock }, KEY, NETWORK) };
}

const countOf = (attributes: LeaseAttributes): number => {
  const read = readSignature(attributes);
  return read.kind === 'signed' ? read.count : assert.fail(read.kind);
};

async function isValid(attributes: LeaseAttributes): Promise<boolean> {
  const decoded = decodeAttributes(encodeAttributes(attributes));
  assert.ok(decoded.ok);
  const read = readSignature(decoded.attributes);
  assert.ok(read.kind === 'signed');
  const text = signedText({ network: NETWORK, name: NAME }, decoded.attributes, read);
  return ed25519.verify({ publicKey: read.key, text, signature: read.signature });
}

for (const attributes of [
  PLAIN,
  { backendType: '' },
  { ...PLAIN, backendData: 'a\ud800b<&>' },
  { ...PLAIN, weft: { Wireguard: { Next: [1, null] }, Key: 'old' } },
] as const satisfies readonly LeaseAttributes[])
  test(`what is signed is valid for a reader: ${JSON.stringify(attributes)}`, async () => {
    assert.ok(await isValid(signer().signer.sign(NAME, attributes)));
  });

test('what says the same keeps its signature, also after a restart', () => {
  const first = signer().signer.sign(NAME, PLAIN);
  assert.equal(signer(9_000).signer.sign(NAME, PLAIN, first), first);
  assert.equal(signer(9_000).signer.sign(NAME, first, first), first);
});

test('what says something else, of another subnet or of another key, is signed again', () => {
  const { signer: one } = signer();
  const first = one.sign(NAME, PLAIN);
  const { signer: later } = signer(9_000);
  assert.equal(countOf(later.sign(NAME, { ...PLAIN, publicIp: ipv4(0xac104602) }, first)), 9_000);
  assert.equal(countOf(later.sign('10.5.2.0-24', PLAIN, first)), 9_001);
  const foreign = new LeaseSigner({ clock: { now: () => 99_000 } }, ed25519.generate(), NETWORK);
  assert.equal(countOf(later.sign(NAME, PLAIN, foreign.sign(NAME, PLAIN))), 9_002);
  assert.equal(countOf(later.sign(NAME, PLAIN, PLAIN)), 9_003);
});

test('counts rise though the clock goes back, and over a restart', () => {
  const { clock, signer: one } = signer(5_000);
  const first = one.sign(NAME, PLAIN);
  clock.time = 10;
  assert.equal(countOf(one.sign(NAME, { ...PLAIN, node: 'n2' }, first)), 5_001);
  const { signer: recalling } = signer(10);
  recalling.recall(NAME, first);
  assert.equal(countOf(recalling.sign(NAME, { ...PLAIN, node: 'n2' })), 5_001);
  const { signer: reading } = signer(10);
  assert.equal(countOf(reading.sign(NAME, { ...PLAIN, node: 'n2' }, first)), 5_001);
});

test('an old lease that somebody put back is not kept', () => {
  const { clock, signer: one } = signer();
  const old = one.sign(NAME, PLAIN);
  clock.time = 2_000;
  one.sign(NAME, { ...PLAIN, publicIp: ipv4(0xac104602) }, old);
  assert.equal(countOf(one.sign(NAME, PLAIN, old)), 2_001);
});

test('a count that somebody else wrote does not raise ours', () => {
  const { signer: one } = signer();
  const first = one.sign(NAME, PLAIN);
  const signed = first.weft?.Signed as { readonly [name: string]: string | number };
  const forged = { ...first, weft: { ...first.weft, Signed: { ...signed, Count: Number.MAX_SAFE_INTEGER } } };
  assert.equal(countOf(signer(2_000).signer.sign(NAME, PLAIN, forged)), 2_000);
});
