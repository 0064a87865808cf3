import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4, parseIpv6 } from '#src/lib/ip.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { contentOf, networkOf, readSignature, signedText, withSignature } from '#src/network/signed-lease.ts';
import { loadEd25519 } from '#src/sys/ed25519.ts';

const ed25519 = await loadEd25519();
const KEY = ed25519.generate();
const PLACE = { network: '/coreos.com/network', name: '10.5.1.0-24' };
const PLAIN: LeaseAttributes = {
  publicIp: ipv4(0xac104601),
  publicIpv6: parseIpv6('fd77::1') ?? assert.fail(),
  backendType: 'vxlan',
  backendData: { VNI: 1, VtepMAC: '02:00:00:00:00:01' },
  backendV6Data: { VNI: 1, VtepMAC: '02:00:00:00:00:02' },
  node: '5c0c3cbb-5a36-4a8e-9f0f-6d4a34f0a6a1',
  weft: { Change: { To: ['wireguard', 1.5, null, true] } },
};

function sign(attributes: LeaseAttributes, count = 7, place = PLACE): LeaseAttributes {
  const text = signedText(place, attributes, { key: KEY.publicKey, count });
  return withSignature(attributes, { key: KEY.publicKey, count, signature: KEY.sign(text) });
}

/** Whether a value is signed by its own key, at this place. */
async function isSigned(value: string, place = PLACE): Promise<boolean> {
  const decoded = decodeAttributes(value);
  if (!decoded.ok) return false;
  const read = readSignature(decoded.attributes);
  if (read.kind !== 'signed') return false;
  const text = signedText(place, decoded.attributes, read);
  return ed25519.verify({ publicKey: read.key, text, signature: read.signature });
}

test('a signed lease is read from its value, and its flannel fields are those of the unsigned one', async () => {
  const value = encodeAttributes(sign(PLAIN));
  assert.ok(await isSigned(value));
  assert.ok(value.startsWith(encodeAttributes(contentOf({ ...PLAIN, weft: {} })).slice(0, -1)));
  assert.ok(value.length < 800);
});

for (const [what, attributes] of [
  ['without a backend', { publicIp: ipv4(0xac104601), backendType: '' }],
  ['without an address', { backendType: 'vxlan' }],
  ['with null as backend data', { ...PLAIN, backendData: null }],
  ['with text as backend data', { ...PLAIN, backendData: '<a & b>\u2028"\\' }],
  ['without anything of weft', contentOf({ ...PLAIN, weft: {} })],
] as const satisfies readonly (readonly [string, LeaseAttributes])[]) {
  test(`a lease ${what} is signed`, async () => {
    assert.ok(await isSigned(encodeAttributes(sign(attributes))));
  });
}

test('a value that was written again, with blanks and fields that are not ours, keeps its signature', async () => {
  const value = JSON.parse(encodeAttributes(sign(PLAIN)));
  assert.ok(await isSigned(JSON.stringify({ ...value, AskedBy: 'n2' }, undefined, 1)));
});

test('no changed byte of a value leaves it signed and says something else', async () => {
  const value = encodeAttributes(sign(PLAIN));
  const said = (text: string): Json | undefined => {
    const decoded = decodeAttributes(text);
    if (!decoded.ok) return undefined;
    // A bigint is no JSON.
    return JSON.stringify(decoded.attributes, (_, value) => (typeof value === 'bigint' ? `${value}` : value));
  };
  let changed = 0;
  for (let at = 0; at < value.length; at++) {
    for (const letter of ['0', 'A', 'z', ' ', '"', '}', ',']) {
      const text = value.slice(0, at) + letter + value.slice(at + 1);
      if (said(text) === said(value) || !(await isSigned(text))) continue;
      changed++;
    }
  }
  assert.equal(changed, 0);
});

test('each field is signed', async () => {
  const signed = sign(PLAIN);
  const { weft = {} } = signed;
  const others: LeaseAttributes[] = [
    { ...signed, publicIp: ipv4(0xac104602) },
    { ...signed, publicIpv6: parseIpv6('fd77::2') ?? assert.fail() },
    { ...signed, backendType: 'host-gw' },
    { ...signed, backendData: { VtepMAC: '02:00:00:00:00:01', VNI: 1 } },
    { ...signed, backendData: { VNI: 1, VtepMAC: '02:00:00:00:00:09' } },
    { ...signed, backendV6Data: null },
    { ...signed, node: 'another' },
    { ...signed, weft: { ...weft, Change: {} } },
    { ...signed, weft: { ...weft, Wireguard: {} } },
    { ...signed, weft: { ...weft, Key: ed25519.generate().publicKey } },
    { ...signed, weft: { ...weft, Signed: { ...(weft.Signed as object), Count: 8 } } },
    { ...signed, backendData: PLAIN.backendV6Data ?? null, backendV6Data: PLAIN.backendData ?? null },
  ];
  for (const other of others)
    assert.ok(!(await isSigned(encodeAttributes(other))), JSON.stringify(other.weft));
  const { backendV6Data: _gone, ...without } = signed;
  assert.ok(!(await isSigned(encodeAttributes(without))));
});

test('a name that Go reads in any case does not pass by the signature', async () => {
  const value = encodeAttributes(sign(PLAIN));
  assert.ok(!(await isSigned(`${value.slice(0, -1)},"publicip":"172.16.70.9"}`)));
  assert.ok(!(await isSigned(value.replace('"VtepMAC"', '"vtepmac":"02:00:00:00:00:09","VtepMAC"'))));
  assert.ok(!(await isSigned(value.replace('"Node"', '"Node":"x","Node"').replace('}}}', '}},"node":"y"}'))));
});

test('a signature holds in its network and for its subnet alone', async () => {
  const value = encodeAttributes(sign(PLAIN));
  assert.ok(!(await isSigned(value, { ...PLACE, name: '10.5.2.0-24' })));
  assert.ok(!(await isSigned(value, { ...PLACE, network: '/coreos.com/other' })));
});

test('hosts agree on the name of a network', () => {
  for (const prefix of ['/coreos.com/network', 'coreos.com/network/', '//coreos.com//network'])
    assert.equal(networkOf(prefix), '/coreos.com/network');
});

test('signed again, a lease has one signature', () => {
  const twice = sign(sign(PLAIN, 7), 8);
  assert.deepEqual(twice, sign(PLAIN, 8));
  assert.deepEqual(contentOf(twice), PLAIN);
});

const SIGNED = sign(PLAIN).weft?.Signed as Record<string, Json>;
for (const [weft, reason] of [
  [{ Key: KEY.publicKey }, /not an object/],
  [{ Signed: SIGNED }, /no key/],
  [{ Key: 7, Signed: SIGNED }, /no key/],
  [{ Key: 'short', Signed: SIGNED }, /no key/],
  [{ Key: KEY.publicKey, Signed: [] }, /not an object/],
  [{ Key: KEY.publicKey, Signed: null }, /not an object/],
  [{ Key: KEY.publicKey, Signed: { ...SIGNED, Count: '7' } }, /Count/],
  [{ Key: KEY.publicKey, Signed: { ...SIGNED, Count: 1e300 } }, /Count/],
  [{ Key: KEY.publicKey, Signed: { ...SIGNED, Count: -1 } }, /Count/],
  [{ Key: KEY.publicKey, Signed: { ...SIGNED, Count: 1.5 } }, /Count/],
  [{ Key: KEY.publicKey, Signed: { ...SIGNED, Signature: '' } }, /length/],
  [{ Key: KEY.publicKey, Signed: { Count: 7 } }, /length/],
] as const satisfies readonly (readonly [Json, RegExp])[]) {
  test(`${JSON.stringify(weft).slice(0, 90)} is no signature`, () => {
    const read = readSignature({ ...PLAIN, weft });
    assert.ok(read.kind === 'unreadable');
    assert.match(read.reason, reason);
  });
}

test('a lease without key and signature is unsigned', () => {
  assert.deepEqual(readSignature(PLAIN), { kind: 'unsigned' });
  assert.deepEqual(readSignature({ backendType: '' }), { kind: 'unsigned' });
});
