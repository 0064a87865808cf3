import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ChangeWish, isWish, judgeChange, wishedBackend } from '#src/backend/change-wish.ts';

const NOTHING: ChangeWish = { backend: '', vni: 0, port: 0, mtu: 0, options: [] };
const text = (backend: string): string => `{"Network":"10.0.0.0/16","Backend":${backend}}`;
const VXLAN = text('{"Type":"vxlan","GBP":true}');

const WISHES: readonly [what: string, wish: Partial<ChangeWish>, backend: string, from?: string][] = [
  ['what is not named stays', { vni: 7 }, '{"Type":"vxlan","GBP":true,"VNI":7}'],
  ['another type begins from nothing', { backend: 'host-gw' }, '{"Type":"host-gw"}'],
  ['a type in any case', { backend: 'VXLAN', port: 4789 }, '{"Type":"vxlan","GBP":true,"Port":4789}'],
  ['an option replaces another spelling', { options: ['Gbp=false'] }, '{"Type":"vxlan","Gbp":false}'],
  [
    'numbers, true, and text',
    { options: ['A=1', 'B=true', 'C=x=y'] },
    '{"Type":"vxlan","GBP":true,"A":1,"B":true,"C":"x=y"}',
  ],
  ['no Backend is udp', { backend: 'vxlan' }, '{"Type":"vxlan"}', '{"Network":"10.0.0.0/16"}'],
];

for (const [what, wish, backend, from = VXLAN] of WISHES)
  test(`a wish: ${what}`, () => {
    assert.equal(isWish({ ...NOTHING, ...wish }), true);
    assert.equal(wishedBackend(from, { ...NOTHING, ...wish }), backend);
  });

test('nothing named is no wish', () => assert.equal(isWish(NOTHING), false));

test('what needs a second path, and what does not', () => {
  for (const to of ['{"Type":"vxlan","GBP":true,"Port":4789}', '{"Type":"vxlan","Port":4789}'])
    assert.deepEqual(judgeChange(VXLAN, to), { kind: 'path', to, lessMtu: 0 });
  assert.deepEqual(judgeChange(VXLAN, '{"Type":"vxlan","GBP":true,"VNI":7}'), {
    kind: 'path',
    to: '{"Type":"vxlan","GBP":true,"VNI":7}',
    lessMtu: 0,
  });
  const { lessMtu } = judgeChange(text('{"Type":"host-gw"}'), '{"Type":"vxlan"}');
  assert.equal(lessMtu, 50);
  const inPlace = judgeChange(VXLAN, '{"Type":"vxlan","GBP":true,"MTU":1400}');
  assert.deepEqual(inPlace, {
    kind: 'in-place',
    text: text('{"Type":"vxlan","GBP":true,"MTU":1400}'),
    what: ['MTU'],
    lessMtu: true,
  });
  const more = judgeChange(text('{"Type":"vxlan","MTU":1400}'), '{"Type":"vxlan","MTU":1500}');
  assert.equal(more.lessMtu, false);
});

test('DirectRouting chooses between routes: they are tried where all can, and changed in place where not', () => {
  const to = '{"Type":"vxlan","GBP":true,"DirectRouting":true}';
  const inPlace = { kind: 'in-place', text: text(to), what: ['DirectRouting'], lessMtu: false } as const;
  assert.deepEqual(judgeChange(VXLAN, to), { kind: 'path', to, lessMtu: 0, orInPlace: inPlace });
  const ipip = judgeChange(text('{"Type":"ipip"}'), '{"Type":"ipip","DirectRouting":true}');
  assert.equal(ipip.kind, 'path');
  // The device can't have two sizes.
  assert.equal(
    judgeChange(VXLAN, '{"Type":"vxlan","GBP":true,"DirectRouting":true,"MTU":1400}').kind,
    'in-place',
  );
});

const REFUSED: readonly [to: string, why: RegExp, from?: string][] = [
  ['{"Type":"vxlan","VNI":1,"GBP":true}', /has this backend already/],
  ['{"Type":"vxlan"}', /both would be the device flannel\.1/],
  ['{"Type":"alloc"}', /alloc carries no packets/],
  ['{"Type":"vxlan"}', /alloc carries no packets/, text('{"Type":"alloc"}')],
  ['{"Type":"pigeon"}', /unknown backend type: pigeon/],
  ['{"Type":"vxlan","VNI":-1}', /VNI must be/],
  ['{"Type":"extension","PreStartupCommand":"true"}', /runs programs|carries no packets/],
];

for (const [to, why, from = VXLAN] of REFUSED)
  test(`refused: ${to}`, () => assert.throws(() => judgeChange(from, to), why));

test('a flag of another backend, and an option without a value', () => {
  assert.throws(() => wishedBackend(VXLAN, { ...NOTHING, backend: 'host-gw', vni: 7 }), { code: 'usage' });
  for (const option of ['VNI', '=7', ''])
    assert.throws(() => wishedBackend(VXLAN, { ...NOTHING, options: [option] }), { code: 'usage' });
});
