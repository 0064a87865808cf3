import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ipv4 } from '#src/lib/ip.ts';
import { type ChangeMember, writeChangeMember } from '#src/network/change-member.ts';
import type { ChangePhase } from '#src/network/change-plan.ts';
import { hostsOf, type LeaseText, progressOf } from '#src/network/change-progress.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';

const other = { backendType: 'host-gw' };

const lease = (number: number, member?: Partial<ChangeMember>, node = `n${number}`): LeaseText => ({
  name: `10.0.${number}.0-24`,
  value: encodeAttributes({
    publicIp: ipv4(0xac104600 + number),
    backendType: 'vxlan',
    ...(node !== '' && { node }),
    ...(member !== undefined && {
      weft: {
        Change: writeChangeMember({ id: 'a', phase: 'moving', other, done: 1, of: 1, waits: {}, ...member }),
      },
    }),
  }),
});

const holdersOf = (leases: readonly LeaseText[], phase: ChangePhase = 'moving', without: string[] = []) =>
  progressOf({ id: 'a', phase }, leases, without).holders.map(
    ({ lease, heldUpBy }) => `${lease}: ${heldUpBy}`,
  );

test('a phase is over when each host is done in it', () => {
  const plan = { id: 'a', phase: 'moving' } as const;
  assert.equal(progressOf(plan, [lease(1, {}), lease(2, {})]).next, 'settling');
  assert.equal(
    progressOf({ ...plan, phase: 'prepare' }, [
      lease(1, { phase: 'prepare' }),
      lease(2, { phase: 'prepare' }),
    ]).next,
    'moving',
  );
  for (const phase of ['settling', 'aborted'] as const)
    assert.equal(progressOf({ id: 'a', phase }, [lease(1, { phase }), lease(2, { phase })]).next, 'end');
  assert.equal(progressOf(plan, []).next, 'settling');
});

const HOLDERS: readonly [what: string, leases: LeaseText[], why: RegExp][] = [
  ['is silent', [lease(1, {}), lease(2)], /^10\.0\.2\.0-24: it has said nothing yet/],
  [
    'speaks of another change',
    [lease(1, {}), lease(2, { id: 'b' })],
    /^10\.0\.2\.0-24: it has said nothing yet/,
  ],
  ['is a phase behind', [lease(1, {}), lease(2, { phase: 'prepare' })], /it is in phase prepare still/],
  ['can not', [lease(1, {}), lease(2, { trouble: 'no such device' })], /^10\.0\.2\.0-24: no such device$/],
  [
    'waits for a peer',
    [lease(1, {}), lease(2, { done: 0, waits: { '10.0.1.0-24': 'no answer' } })],
    /^10\.0\.2\.0-24: it is done with 0 of 1 peers: 10\.0\.1\.0-24: no answer$/,
  ],
  ['does not know a peer', [lease(1, {}), lease(2, { done: 0, of: 0 })], /it uses 0 of 1 other hosts/],
  ['runs flannel', [lease(1, {}), lease(2, undefined, '')], /^10\.0\.2\.0-24: it runs flannel/],
];

for (const [what, leases, why] of HOLDERS)
  test(`a host holds it up that ${what}`, () => {
    const holders = holdersOf(leases);
    assert.equal(holders.length, 1, holders.join('; '));
    assert.match(holders[0] ?? '', why);
    assert.equal(progressOf({ id: 'a', phase: 'moving' }, leases).next, undefined);
  });

test('a host that is left out is not waited for, nor is what others say of it', () => {
  const leases = [
    lease(1, { done: 1, of: 2, waits: { '10.0.3.0-24': 'no answer' } }),
    lease(2, { done: 1, of: 2, waits: { '10.0.3.0-24': 'no answer' } }),
    lease(3),
  ];
  assert.equal(holdersOf(leases).length, 1);
  for (const name of ['10.0.3.0-24', '172.16.70.3'])
    assert.deepEqual(holdersOf(leases, 'moving', [name]), []);
  const waits = { '10.0.3.0-24': 'no answer', '10.0.2.0-24': 'no answer' };
  assert.equal(
    holdersOf([lease(1, { done: 0, of: 2, waits }), ...leases.slice(1)], 'moving', ['10.0.3.0-24']).length,
    1,
  );
});

test('a host that waits for a silent one alone is not named', () => {
  const waits = { '10.0.3.0-24': 'it has not announced the new path' };
  const leases = [lease(1, { done: 1, of: 2, waits }), lease(2, { done: 1, of: 2, waits }), lease(3)];
  assert.deepEqual(
    holdersOf(leases).map((text) => text.slice(0, 11)),
    ['10.0.3.0-24'],
  );
  assert.equal(progressOf({ id: 'a', phase: 'moving' }, leases).next, undefined);
});

test('what is no host is not waited for', () => {
  const reservation = { name: '10.0.9.0-24', value: '{"PublicIP":"172.16.70.9"}' };
  const junk = [reservation, { name: '10.0.8.0-24', value: 'x' }, { name: 'x', value: '{}' }];
  assert.deepEqual(hostsOf(junk), []);
  assert.deepEqual(holdersOf([lease(1, {}), lease(2, {}), ...junk]), []);
});

test('at its end flannel has nothing to do', () => {
  for (const phase of ['settling', 'aborted'] as const)
    assert.deepEqual(
      holdersOf([lease(1, { phase }), lease(2, { phase }), lease(3, undefined, '')], phase),
      [],
    );
});

test('an abort waits for none that has not begun', () => {
  const leases = [
    lease(1, { phase: 'aborted', done: 2, of: 2 }),
    lease(2),
    { name: '10.0.3.0-24', value: '' },
  ];
  const trouble = writeChangeMember({ id: 'a', done: 0, of: 0, waits: {}, trouble: 'no such device' });
  const failed = {
    name: '10.0.3.0-24',
    value: encodeAttributes({ backendType: 'vxlan', node: 'n3', weft: { Change: trouble } }),
  };
  assert.deepEqual(holdersOf([...leases.slice(0, 2), failed], 'aborted'), []);
  assert.equal(holdersOf([...leases.slice(0, 2), lease(3, { phase: 'prepare' })], 'aborted').length, 1);
});
