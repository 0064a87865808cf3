import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatPeers } from '#src/cli/peers-command.ts';
import type { Peer } from '#src/observe/api.ts';

const NOW = Date.UTC(2026, 4, 7, 12);
const ago = (seconds: number): string => new Date(NOW - seconds * 1000).toISOString();
const way = (sent: number, answered: number, roundTripMs?: number) => ({
  sent,
  answered,
  ...(roundTripMs !== undefined && { roundTripMs }),
  fullSize: 'passes' as const,
});

const UP: Peer = {
  lease: '10.0.65.0-24',
  subnet: '10.0.65.0/24',
  publicIp: '172.16.70.192',
  backend: 'vxlan',
  lastSeen: ago(12),
  remainingSeconds: 86_388,
  programmed: 'yes',
  since: ago(7_500),
  probe: {
    at: ago(1),
    state: 'up',
    findings: [],
    tunnel: way(300, 299, 0.43),
    underlay: way(300, 300, 0.3),
    tcp: 'answered',
    responder: true,
  },
};
const DOWN: Peer = {
  ...UP,
  lease: '10.0.66.0-24',
  subnet: '10.0.66.0/24',
  publicIp: '172.16.70.193',
  probe: {
    at: ago(1),
    state: 'down',
    findings: ['nothing passes inside the tunnel', 'the underlay answers'],
    tunnel: way(10, 0),
    underlay: way(10, 10, 0.3),
    tcp: 'silent',
    responder: false,
  },
};
const REFUSED: Peer = {
  lease: 'hello',
  lastSeen: ago(3),
  programmed: 'quarantined',
  since: ago(3),
  reason: 'its key is \x1b[31mnot a subnet',
};
const PLAIN = { width: 100, hasColour: false };

test('peers as a table, with a line that counts them before it and what is wrong behind it', () => {
  const peers = [UP, DOWN, REFUSED];
  assert.deepEqual(formatPeers({ peers }, peers, PLAIN, NOW), [
    '3 peers, 1 up, 1 down, 1 quarantined',
    'SUBNET        PUBLIC IP      BACKEND  SEEN  STATE          TRIP  LOSS   LEASE  SINCE',
    '10.0.65.0/24  172.16.70.192  vxlan     12s  up           0.4 ms    1%  23h59m   2h5m',
    '10.0.66.0/24  172.16.70.193  vxlan     12s  down              -  100%  23h59m   2h5m',
    'hello         -              -          3s  quarantined       -     -       -      -',
    '  10.0.66.0/24: nothing passes inside the tunnel',
    '  10.0.66.0/24: the underlay answers',
    '  hello: its key is �[31mnot a subnet',
  ]);
});

test('the longest of everything has room in 100 columns', () => {
  const long: Peer = {
    ...UP,
    subnet: '100.100.100.128/25',
    publicIp: '100.100.100.100',
    backend: 'host-gw',
    lastSeen: ago(86_300),
    since: ago(359 * 86_400 + 23 * 3600),
    probe: { ...(UP.probe ?? assert.fail()), state: 'degraded', tunnel: way(100, 0, 1234.5) },
  };
  const lines = formatPeers({ peers: [long, REFUSED] }, [long], PLAIN, NOW);
  for (const line of lines) assert.ok(line.length <= 100, line);
  assert.match(
    lines[2] ?? '',
    /^100\.100\.100\.128\/25 {2}100\.100\.100\.100 {2}host-gw .* 1234\.5 ms {2}100%/,
  );
});

test('what is encrypted is in the column of the backend, and what is not is a note', () => {
  const encrypted: Peer = { ...UP, encryption: 'wireguard' };
  const plain: Peer = { ...UP, lease: '10.0.67.0-24', subnet: '10.0.67.0/24', encryption: 'none' };
  const [, , first, second, note] = formatPeers(
    { peers: [encrypted, plain] },
    [encrypted, plain],
    PLAIN,
    NOW,
  );
  assert.match(first ?? '', / vxlan\+wireguard /);
  assert.match(second ?? '', / vxlan {2}/);
  assert.equal(note, '  10.0.67.0/24: packets to it are not encrypted');
  const own: Peer = { ...UP, backend: 'wireguard', encryption: 'wireguard' };
  assert.match(formatPeers({ peers: [own] }, [own], PLAIN, NOW)[2] ?? '', / wireguard /);
});

test('in a narrow terminal addresses are cut first', () => {
  const [, head, row] = formatPeers({ peers: [UP] }, [UP], { width: 80, hasColour: false }, NOW);
  assert.ok((head ?? '').length <= 80);
  assert.match(row ?? '', /^\S+…? /);
});

test('no peer, and no peer that was meant', () => {
  assert.deepEqual(formatPeers({ peers: [] }, [], PLAIN, NOW), ['0 peers, 0 up, 0 down, 0 quarantined']);
  assert.deepEqual(formatPeers({ peers: [UP] }, [], PLAIN, NOW), [
    '1 peer, 1 up, 0 down, 0 quarantined',
    'no peer is meant by these words',
  ]);
});

test('colours are for a terminal', () => {
  const [summary, , row] = formatPeers({ peers: [DOWN] }, [DOWN], { width: 100, hasColour: true }, NOW);
  assert.equal(summary, '1 peer, 0 up, \x1b[31m1 down\x1b[0m, 0 quarantined');
  assert.ok(row?.includes('\x1b[31mdown\x1b[0m'));
});

test('tunnels of WireGuard’s have a line each, where there are few peers', () => {
  const [used, fresh]: Peer[] = [
    {
      ...UP,
      wireguard: { endpoint: '192.0.2.2:51820', handshakeAt: ago(34), received: 1_300_000, sent: 900 },
    },
    { ...DOWN, wireguard: { received: 0, sent: 148 } },
  ];
  assert.ok(used && fresh);
  const lines = formatPeers({ peers: [used, fresh] }, [used, fresh], { ...PLAIN, width: 200 }, NOW);
  assert.deepEqual(
    lines.filter((line) => line.includes('WireGuard')),
    [
      '  10.0.65.0/24: WireGuard with 192.0.2.2:51820: handshake 34s ago, 1.2 MiB received, 900 B sent',
      '  10.0.66.0/24: WireGuard with nowhere: no handshake yet, 0 B received, 148 B sent',
    ],
  );
  const many = Array.from({ length: 13 }, () => used);
  assert.ok(!formatPeers({ peers: many }, many, PLAIN, NOW).some((line) => line.includes('WireGuard')));
});
