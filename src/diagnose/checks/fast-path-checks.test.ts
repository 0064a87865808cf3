import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FAST_PATH_CHECKS } from '#src/diagnose/checks/fast-path-checks.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';

const ON: FastPathStatus = {
  ...{ state: 'on', reasons: [], containers: 1, peers: 1, slowPeers: [], queues: [], tcp: true },
};
const found = (fastPath: FastPathStatus | undefined): string[] =>
  FAST_PATH_CHECKS.flatMap(({ id, look }) => {
    const facts = { daemon: { state: 'running', status: { fastPath } } } as unknown as HostFacts;
    return look(facts) === undefined ? [] : id;
  });

test('a fast path that is on, paused or not asked for is no finding', () => {
  assert.deepEqual(found(undefined), []);
  assert.deepEqual(found(ON), []);
  assert.deepEqual(found({ ...ON, state: 'paused', reasons: ['weft capture sees all packets'] }), []);
});

test('a refusal and slow TCP are findings', () => {
  assert.deepEqual(found({ ...ON, state: 'refused', reasons: ['a rule limits a rate'], tcp: false }), [
    'fast-path-refused',
  ]);
  assert.deepEqual(found({ ...ON, tcp: false }), ['fast-path-tcp']);
});

test('what the kernel refuses is no matter of rules and queues', () => {
  const remedyOf = (reason: string): string | undefined => {
    const fastPath: FastPathStatus = { ...ON, state: 'refused', reasons: [reason] };
    const facts = { daemon: { state: 'running', status: { fastPath } } } as unknown as HostFacts;
    return FAST_PATH_CHECKS.map(({ look }) => look(facts)?.remedy).find((remedy) => remedy !== undefined);
  };
  assert.match(remedyOf('a rule limits a rate') ?? '', /^take the rule/);
  assert.match(remedyOf('the kernel refuses fast-path flannel.1: no right') ?? '', /lacks a right/);
});

test('a daemon that does not answer is another check’s', () => {
  for (const { look } of FAST_PATH_CHECKS)
    assert.equal(look({ daemon: { state: 'stopped' } } as unknown as HostFacts), undefined);
});
