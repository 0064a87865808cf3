import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { withoutPlan, withPhase, withPlan } from '#src/network/change-plan.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { type Configured, judgeConfigChange } from '#src/node/config-change.ts';

const configured = (text: string): Configured => {
  const config = parseNetworkConfig(text);
  return { config, prepared: prepareBackend(config, { links: [], identity: '', instance: '' }) };
};
const judge = (now: string, next: string): string => {
  const change = judgeConfigChange(configured(now), configured(next), { v4: prefix4(ipv4(0x0a000100), 24) });
  return change.kind === 'refused' ? change.reason : change.kind;
};

const OLD = '{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}';
const NEW = '{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan","VNI":7}}';
const PREPARE = withPlan(OLD, '{"Type":"vxlan","VNI":7}', { id: 'a', by: '', at: '' });
const MOVING = withPhase(PREPARE, 'moving');
const SETTLING = withPhase(PREPARE, 'settling');
const ABORTED = withPhase(SETTLING, 'aborted');

const TAKEN: readonly [what: string, now: string, next: string][] = [
  ['a change begins', OLD, PREPARE],
  ['it goes on', PREPARE, MOVING],
  ['the config names the new backend', MOVING, SETTLING],
  ['it is over', SETTLING, withoutPlan(SETTLING)],
  ['it is aborted', SETTLING, ABORTED],
  ['the abort is over', ABORTED, withoutPlan(ABORTED)],
  ['phases were missed', OLD, SETTLING],
  ['the plan was taken away', MOVING, OLD],
  ['the plan was taken away after its end was missed', MOVING, NEW],
];

for (const [what, now, next] of TAKEN)
  test(`taken by a running network: ${what}`, () => assert.equal(judge(now, next), 'in-place'));

test('a backend that the host has no path for is refused, with a plan and without one', () => {
  assert.equal(judge(OLD, NEW), 'VNI is now 7 instead of 1'.replace('VNI', 'Backend.VNI'));
  assert.match(judge(OLD, withPlan(NEW, '{"Type":"host-gw"}', { id: 'b', by: '', at: '' })), /Backend\.VNI/);
  assert.match(judge(MOVING, '{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan","VNI":9}}'), /Backend\.VNI/);
});

test('another Network is refused in the middle of a change too', () => {
  assert.match(
    judge(PREPARE, MOVING.replace('10.0.0.0/16', '10.0.0.0/15')),
    /^Network is now 10\.0\.0\.0\/15/,
  );
});

test('the same plan again is nothing', () => assert.equal(judge(MOVING, MOVING), 'same'));
