import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chooseApi, explainWait, type Sight } from '#src/registry/choose-api.ts';

const place = { endpoints: 'http://10.0.0.1:2379', prefix: '/coreos.com/network' };
const config = (leases?: number): Sight =>
  leases === undefined ? { kind: 'config' } : { kind: 'config', leases };
const absent: Sight = { kind: 'absent' };
const failed: Sight = { kind: 'failed', error: new Error('connection refused') };
const unsupported: Sight = { kind: 'unsupported', error: new Error('no such API') };

/** v2's sight, v3's sight, whether there is patience left, and what is to be chosen. */
const CASES: readonly [Sight, Sight, boolean, 'v2' | 'v3' | 'wait'][] = [
  [absent, absent, true, 'wait'],
  [config(), absent, true, 'v2'],
  [absent, config(), true, 'v3'],
  [config(), unsupported, true, 'v2'],
  [unsupported, config(), true, 'v3'],
  [config(), failed, true, 'wait'],
  [config(), failed, false, 'v2'],
  [failed, config(), true, 'wait'],
  [failed, config(), false, 'v3'],
  [failed, failed, false, 'wait'],
  [absent, failed, false, 'wait'],
  [config(3), config(0), true, 'v2'],
  [config(0), config(3), true, 'v3'],
  [config(3), config(3), true, 'v3'],
  [config(0), config(0), true, 'v3'],
];

for (const [v2, v3, patient, expected] of CASES) {
  const name = `v2 ${JSON.stringify(v2)}, v3 ${JSON.stringify(v3)}, patient ${patient}: ${expected}`;
  test(name, () => {
    const choice = chooseApi({ v2, v3 }, place, patient);
    assert.equal(choice.kind === 'use' ? choice.api : choice.kind, expected);
  });
}

test('a choice between two stores tells what each holds and how to take the other', () => {
  const { why } = chooseApi({ v2: config(1), v3: config(0) }, place, true);
  assert.equal(
    why,
    'the network config is in both stores; v2 has 1 lease, v3 has no leases (--etcd-api=v3 would take the other)',
  );
});

test('a missing config is reported with the key and the command that puts it there', () => {
  const { why } = chooseApi({ v2: absent, v3: absent }, place, true);
  assert.match(why, /no key \/coreos.com\/network\/config in etcd \(looked at v2 and v3\)/);
  assert.match(
    why,
    /ETCDCTL_API=3 etcdctl --endpoints=http:\/\/10.0.0.1:2379 put \/coreos.com\/network\/config '\{"Network"/,
  );
  assert.match(chooseApi({ v2: absent, v3: unsupported }, place, true).why, /ETCDCTL_API=2 etcdctl .* set /);
});

test('P21: a config in the other store is reported with the command that copies it', () => {
  assert.match(
    explainWait('v3', absent, config(), place),
    /in etcd's v2 store.*--etcd-api=v2.*ETCDCTL_API=3 etcdctl \S+ put (\S+) "\$\(ETCDCTL_API=2 etcdctl \S+ get \1\)"$/,
  );
  assert.match(
    explainWait('v2', absent, config(), place),
    /ETCDCTL_API=2 etcdctl \S+ set (\S+) "\$\(ETCDCTL_API=3 etcdctl \S+ get --print-value-only \1\)"$/,
  );
  assert.match(explainWait('v2', absent, absent, place), /looked at v2\)/);
});

test('a prefix is joined as Go joins it, and only v2 adds the leading slash', () => {
  const odd = { ...place, prefix: 'flannel//vxlan/' };
  assert.match(explainWait('v3', absent, undefined, odd), /no key flannel\/vxlan\/config /);
  assert.match(explainWait('v2', absent, undefined, odd), /no key \/flannel\/vxlan\/config /);
});
