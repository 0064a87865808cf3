import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Masker } from '#src/diagnose/report/mask.ts';
import { formatIp, ipv4, parsePrefix } from '#src/lib/ip.ts';

const masker = (secrets: readonly string[] = [], addresses = true) =>
  new Masker({ secrets, addresses, keep: [parsePrefix('11.5.0.0/16') ?? assert.fail()] });

/** Each with the secret `Hunter2x`, which must not come out. */
const SECRETS: readonly (readonly [text: string, masked: string])[] = [
  ['--etcd-password=Hunter2x --v=1', '--etcd-password=*** --v=1'],
  ['flanneld -etcd-password Hunter2x -v 1', 'flanneld -etcd-password *** -v 1'],
  ['--etcd-password "Hunter2x y" --x', '--etcd-password *** --x'],
  ['["--etcd-password","Hunter2x","--v=1"]', '["--etcd-password","***","--v=1"]'],
  ['FLANNELD_ETCD_PASSWORD=Hunter2x', 'FLANNELD_ETCD_PASSWORD=***'],
  ['Environment="FLANNELD_ETCD_PASSWORD=Hunter2x" A=b', 'Environment="FLANNELD_ETCD_PASSWORD=***" A=b'],
  ['{"password": "Hunter2x", "user": "u"}', '{"password": "***", "user": "u"}'],
  ['{"password":"Hun\\"Hunter2x","a":1}', '{"password":"***","a":1}'],
  ['{"clientSecret":"Hunter2x"}', '{"clientSecret":"***"}'],
  ['password=a,Hunter2x;Hunter2x}', 'password=***'],
  ['password: Hunter2x', 'password: ***'],
  ["api_key = 'Hunter2x'", "api_key = '***'"],
  ['https://user:Hunter2x@etcd.example:2379/v2', 'https://***@etcd.example:2379/v2'],
  ['https://user:p@Hunter2x@etcd.example:2379', 'https://***@etcd.example:2379'],
  ['http://proxy:Hunter2x@10.0.0.1:3128 a@b', 'http://***@10.0.0.1:3128 a@b'],
  ['GET /x?token=Hunter2x&a=1', 'GET /x?token=***'],
  ['Authorization: Bearer Hunter2x.abc', 'Authorization: ***'],
  ['"Authorization": "Basic Hunter2xHunter2x=="', '"Authorization": "***"'],
  ['header basic Hunter2xHunter2x==', 'header basic ***'],
  ['jwt eyJhbGciOiJIUzI1NiJ9.eyJIHunter2x.Hunter2x end', 'jwt *** end'],
  ['PrivateKey = Hunter2xHunter2x=', 'PrivateKey = ***'],
  ['a\n-----BEGIN EC PRIVATE KEY-----\nHunter2x\n-----END EC PRIVATE KEY-----\nb', 'a\n[private key ***]\nb'],
  [
    '{"key":"-----BEGIN PRIVATE KEY-----\\nHunter2x\\n-----END PRIVATE KEY-----"}',
    '{"key":"[private key ***]"}',
  ],
];

test('secrets are masked in every form that a report has them in', () => {
  for (const [text, expected] of SECRETS) {
    const masked = masker().mask(text);
    assert.equal(masked, expected);
    assert.doesNotMatch(masked, /Hunter2x/);
    assert.equal(masker().mask(masked), masked, 'again');
  }
});

test('what is no secret stays', () => {
  for (const text of [
    '"fullSize": "passes"',
    'bypass = 1',
    'key: "route 10.0.0.0/16"',
    '--etcd-keyfile=/etc/key.pem',
    'net.ipv4.ip_forward = 1',
    'at 20:14:03 dev 4e:75:5c:b8:d8:8e',
  ])
    assert.equal(masker().mask(text), text);
});

test('a secret that is known is masked wherever it stands', () => {
  const known = masker(['pa"ss/word', 'pa"ss', 'abc']);
  const text = 'login with pa"ss/word failed: {"e":"pa\\"ss/word"} pa%22ss%2Fword abc';
  assert.equal(known.mask(text), 'login with *** failed: {"e":"***"} *** abc');
});

test('a public address has one placeholder everywhere; private ones and the overlay’s stay', () => {
  const one = masker();
  assert.equal(
    one.mask('8.8.4.4 via 10.0.65.1, 8.8.4.4/24, 9.9.9.9. 172.16.70.191 11.5.3.1 255.255.255.0 100.64.0.1'),
    '203.0.113.1 via 10.0.65.1, 203.0.113.1/24, 203.0.113.2. 172.16.70.191 11.5.3.1 255.255.255.0 100.64.0.1',
  );
  assert.equal(
    one.mask('key 8.8.4.0-24, https://9.9.9.9:2379'),
    'key 203.0.113.3-24, https://203.0.113.2:2379',
  );
  assert.equal(one.mask('ec2-8-8-4-4.example'), 'ec2-203-0-113-1.example');
  assert.equal(
    one.mask('2a00:1450::5 dev eth0, fe80::1, fd00::1, [2a00:1450::5]:80, 2a00:1450:0::5/64'),
    '2001:db8::1 dev eth0, fe80::1, fd00::1, [2001:db8::1]:80, 2001:db8::1/64',
  );
  assert.equal(one.replaced, 4);
  assert.equal(masker([], false).mask('8.8.4.4 token=x'), '8.8.4.4 token=***');
});

test('no two addresses share a placeholder, and none comes through', () => {
  const one = masker();
  const seen = new Map<string, string>();
  const first = fc.constantFrom(1, 8, 12, 99, 151, 193, 203);
  fc.assert(
    fc.property(first, fc.nat(0xffffff), (top, rest) => {
      const text = formatIp(ipv4(top * 2 ** 24 + rest));
      const placeholder = one.mask(text);
      assert.match(placeholder, /^(203\.0\.113|198\.51\.100|192\.0\.2|198\.1[89]\.\d+)\.\d+$/);
      assert.equal(seen.get(placeholder) ?? text, text);
      seen.set(placeholder, text);
    }),
    { numRuns: 2_000 },
  );
});
