import assert from 'node:assert/strict';
import { test } from 'node:test';
import { backendText, withBackend, withoutPlan, withPhase, withPlan } from '#src/network/change-plan.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';

const TEXT = '{ "Network": "10.0.0.0/16", "Owner": {"team": "x"}, "backend": {"Type": "vxlan", "Note": 1} }';
const TO = '{"Type":"vxlan","VNI":7}';
const ORIGIN = { id: 'a1', by: 'h1', at: '2026-01-01T00:00:00Z' };

test('a plan stands beside what the operator wrote, and is read with the config', () => {
  const text = withPlan(TEXT, TO, ORIGIN);
  assert.equal(
    text,
    '{"Network":"10.0.0.0/16","Owner":{"team": "x"},"backend":{"Type": "vxlan", "Note": 1},"WeftChange":{"Id":"a1","Phase":"prepare","To":{"Type":"vxlan","VNI":7},"By":"h1","At":"2026-01-01T00:00:00Z"}}',
  );
  const { backend, change } = parseNetworkConfig(text);
  assert.equal(backend.type, 'vxlan');
  assert.deepEqual([change?.id, change?.phase, change?.by, change?.at], ['a1', 'prepare', 'h1', ORIGIN.at]);
  assert.equal(change?.other.options.integer('VNI', 0, 10), 7);
});

test('the phases to the new backend', () => {
  const moving = withPhase(withPlan(TEXT, TO, ORIGIN), 'moving');
  assert.match(moving, /"Phase":"moving","To":\{"Type":"vxlan","VNI":7\}/);
  const settling = withPhase(moving, 'settling');
  assert.equal(backendText(settling), TO);
  assert.match(settling, /"Phase":"settling","From":\{"Type": "vxlan", "Note": 1\}/);
  assert.equal(withoutPlan(settling), `{"Network":"10.0.0.0/16","Owner":{"team": "x"},"backend":${TO}}`);
});

test('an abort leaves or restores the old backend', () => {
  const begun = withPlan(TEXT, TO, ORIGIN);
  for (const text of [begun, withPhase(begun, 'moving'), withPhase(begun, 'settling')]) {
    const aborted = withPhase(text, 'aborted');
    assert.match(aborted, /"Phase":"aborted","To":\{"Type":"vxlan","VNI":7\}/);
    assert.equal(backendText(withoutPlan(aborted)), '{"Type": "vxlan", "Note": 1}');
  }
});

test('a config without Backend means udp, and gets one at the end', () => {
  const settling = withPhase(withPlan('{"Network":"10.0.0.0/16"}', TO, ORIGIN), 'settling');
  assert.match(settling, /"From":\{"Type":"udp"\}/);
  assert.equal(withoutPlan(settling), `{"Network":"10.0.0.0/16","Backend":${TO}}`);
});

test('of several spellings of Backend one is left', () => {
  const text = '{"BACKEND":{"Type":"udp"},"Network":"10.0.0.0/16","Backend":{"Type":"alloc"}}';
  assert.equal(withBackend(text, TO), `{"Network":"10.0.0.0/16","Backend":${TO}}`);
});

const BROKEN: readonly [what: string, plan: string, error: RegExp][] = [
  ['no id', '{"Phase":"moving","To":{}}', /a change needs an id/],
  ['an id with blanks', '{"Id":"a b","Phase":"moving","To":{}}', /a change needs an id/],
  ['no such phase', '{"Id":"a","Phase":"later","To":{}}', /no such phase/],
  ['no second backend', '{"Id":"a","Phase":"moving"}', /needs a second backend/],
  ['the wrong one', '{"Id":"a","Phase":"settling","To":{}}', /needs a second backend/],
  ['no object', '"moving"', /WeftChange must be an object/],
];

for (const [what, plan, error] of BROKEN)
  test(`a plan that can't be read: ${what}`, () => {
    assert.throws(() => parseNetworkConfig(`{"Network":"10.0.0.0/16","WeftChange":${plan}}`), error);
  });
