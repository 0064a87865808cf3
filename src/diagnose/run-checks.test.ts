import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Check, Finding } from '#src/diagnose/check.ts';
import { CHECKS } from '#src/diagnose/checks.ts';
import { NoFact } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { causedBy, runChecks } from '#src/diagnose/run-checks.ts';

const FACTS = { network: { kind: 'known' }, daemon: { state: 'running' } } as unknown as HostFacts;

const check = (id: string, found: Partial<Finding> | undefined, more: Partial<Check> = {}): Check => ({
  id,
  title: id,
  why: `why ${id}`,
  causes: [],
  look: () => found && { what: id, remedy: 'mend it', ...found },
  ...more,
});
const ids = (checks: readonly Check[], facts = FACTS): string[] =>
  runChecks(facts, checks).findings.map(({ id }) => id);

test('what is found is said in the order of the checks', () => {
  assert.deepEqual(ids([check('a', {}), check('b', undefined), check('c', {})]), ['a', 'c']);
});

test('a cause leaves out what it causes, also at second hand, and says so', () => {
  const checks = [
    check('a', {}, { causes: ['b'] }),
    check('b', undefined, { causes: ['c'] }),
    check('c', {}),
    check('d', {}),
  ];
  const { findings, consequences } = runChecks(FACTS, checks);
  assert.deepEqual(
    findings.map(({ id }) => id),
    ['a', 'd'],
  );
  assert.deepEqual(consequences, [{ id: 'c', of: 'a' }]);
});

test('a cause that is about some leases explains nothing that is about others', () => {
  const cause = check('a', { leases: ['one'] }, { causes: ['b'] });
  assert.deepEqual(ids([cause, check('b', { leases: ['one'] })]), ['a']);
  assert.deepEqual(ids([cause, check('b', { leases: ['one', 'two'] })]), ['a', 'b']);
  assert.deepEqual(ids([cause, check('b', {})]), ['a']);
  assert.deepEqual(ids([check('a', {}, { causes: ['b'] }), check('b', { leases: ['two'] })]), ['a']);
});

test('a last resort is said only when nothing exact is', () => {
  const last = check('z', {}, { lastResort: true });
  assert.deepEqual(ids([last]), ['z']);
  assert.deepEqual(ids([check('a', {}), last]), ['a']);
});

test('a check without its facts could not look; one with nothing to look at is fine', () => {
  const without = (kind: 'unknown' | 'absent') =>
    check('a', undefined, {
      look() {
        throw new NoFact({ kind, why: 'no ss' });
      },
    });
  assert.deepEqual(runChecks(FACTS, [without('unknown')]).unknown, [{ id: 'a', why: 'no ss' }]);
  assert.deepEqual(runChecks(FACTS, [without('absent')]).unknown, []);
});

test('a host that is no node of the network has no faults of it', () => {
  const facts = {
    network: { kind: 'unknown', why: 'nothing is known' },
    daemon: { state: 'stopped' },
  } as unknown as HostFacts;
  const { findings, unknown } = runChecks(facts, [check('a', {})]);
  assert.deepEqual([findings, unknown], [[], [{ id: 'a', why: 'nothing is known' }]]);
});

test('the catalogue: ids are in kebab case and unique, causes exist, and nothing causes itself', () => {
  const all = CHECKS.map(({ id }) => id);
  assert.ok(all.length >= 40);
  assert.equal(new Set(all).size, all.length);
  for (const { id, title, why, causes } of CHECKS) {
    assert.match(id, /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/);
    assert.match(why, /\.$/, id);
    assert.match(title, /[^.]$/, id);
    assert.deepEqual(
      causes.filter((cause) => !all.includes(cause)),
      [],
      id,
    );
    assert.ok(!causedBy(id, CHECKS).has(id), `${id} causes itself`);
  }
});
