import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDiagnoses, type NetworkDiagnosis, totalsOf } from '#src/cli/format-diagnosis.ts';
import { knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import { type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';

const net = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const network = {
  network: net('10.0.0.0/16'),
  subnet: net('10.0.65.0/24'),
  source: 'daemon',
} as KnownNetwork;
const place = { socket: '', stateFile: '', subnetFile: '' };
const finding = {
  id: 'ip-forward-off',
  what: 'The host forwards no packets: net.ipv4.ip_forward is 0.',
  why: 'Every packet between a container and another host is forwarded by this host.',
  remedy: 'sysctl -w net.ipv4.ip_forward=1',
};
const diagnosis = (more: Partial<NetworkDiagnosis>): NetworkDiagnosis => ({
  ...{ checks: 3, findings: [], consequences: [], unknown: [] },
  facts: { place, network: knownFact(network), daemon: { state: 'stopped' } },
  ...more,
});

test('what is wrong, why, and what mends it; the command in one piece', () => {
  const lines = formatDiagnoses([diagnosis({ findings: [finding] })], { hasColour: false, width: 50 });
  assert.deepEqual(lines, [
    "network 10.0.0.0/16, this host's subnet 10.0.65.0/24 (flanneld answers)",
    '✗ ip-forward-off: The host forwards no packets:',
    '  net.ipv4.ip_forward is 0.',
    '  why:  Every packet between a container and',
    '        another host is forwarded by this host.',
    '  mend: sysctl -w net.ipv4.ip_forward=1',
    '  more: docs/reference/checks.md#ip-forward-off',
    '',
    '3 checks, 1 wrong, 0 could not look',
  ]);
});

test('what is wrong with the host is said with the first of its networks only', () => {
  const two = [diagnosis({ findings: [finding] }), diagnosis({ findings: [finding] })];
  assert.deepEqual(totalsOf(two), { checks: 6, wrong: 1, unknown: 0 });
});

test('checks that could not look are named with the reason', () => {
  const facts = {
    place: { ...place, label: 'blue' },
    network: unknownFact('x'),
    daemon: { state: 'stopped' },
  } as const;
  const unknown = [
    { id: 'a', why: 'no ss' },
    { id: 'b', why: 'no ss' },
  ];
  const lines = formatDiagnoses([diagnosis({ facts, unknown })], { hasColour: false, width: 100 });
  assert.deepEqual(lines, [
    'network blue: not known on this host',
    'could not look: a, b: no ss',
    '3 checks, 0 wrong, 2 could not look',
  ]);
});
