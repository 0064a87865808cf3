import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDriver, formatViews } from '#src/cli/status-command.ts';
import type { HostEvent, Peer } from '#src/observe/api.ts';
import type { DriverNetwork } from '#src/observe/driver-status.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';

const PLAIN = { now: Date.UTC(2026, 4, 7, 12), hasColour: false };

const network = (name: string, containers: readonly string[], cutOff = 0): DriverNetwork => ({
  name,
  vni: 70_001,
  subnets: ['10.5.0.0/24', 'fd00::/64'],
  containers,
  cutOff,
});

test("what Docker's driver does, in words", () => {
  const networks = [
    network('blue', ['web']),
    network('green', []),
    network('red', ['a', 'b', 'c', 'd', 'e', 'f'], 1),
  ];
  assert.deepEqual(
    formatDriver({ state: 'on', troubles: ['Docker has not answered yet'], networks }, PLAIN),
    [
      "Docker's driver: on, NOT READY",
      '  trouble    Docker has not answered yet',
      '  network    blue: VNI 70001, 10.5.0.0/24, fd00::/64, 1 container here (web)',
      '  network    red: VNI 70001, 10.5.0.0/24, fd00::/64, 6 containers here (a, b, c, d, e, …), 1 cut off',
      '  networks   1 more without a container here',
    ],
  );
  assert.deepEqual(formatDriver({ state: 'waiting', troubles: [], networks: [] }, PLAIN), [
    "Docker's driver: waits for Docker on this host",
  ]);
  assert.deepEqual(formatDriver({ state: 'on', troubles: [], networks: [network('green', [])] }, PLAIN), [
    "Docker's driver: on",
    '  networks   1 without a container here',
  ]);
});

const STATUS: NodeStatus = {
  version: '1.2.3',
  node: 'n1',
  ready: false,
  troubles: ['the registry has not answered for 90 s'],
  network: {
    network: '10.5.0.0/16',
    subnet: '10.5.1.0/24',
    backend: 'vxlan',
    underlay: 'eth0 (172.16.0.1)',
    publicIp: '172.16.0.1',
    mtu: 1450,
    routes: 'flannel',
  },
  registry: { description: 'etcd v3 at 172.16.0.9:2379', state: 'reconnecting', ageSeconds: 90.04 },
  peers: { accepted: 2, quarantined: [{ lease: 'x\x1b[2J', reason: 'its key is not a subnet' }] },
  kernel: { wanted: 9, failing: [{ key: 'route 10.5.2.0/24', reason: 'EPERM' }], repairs: 1, checks: 4 },
  eventLoopDelayMs: 1,
};
const TEXT = [
  'weft 1.2.3, node n1: NOT READY',
  '  trouble    the registry has not answered for 90 s',
  '  subnet     10.5.1.0/24 of 10.5.0.0/16 (vxlan, MTU 1450)',
  '  underlay   eth0 (172.16.0.1), public IP 172.16.0.1',
  '  registry   etcd v3 at 172.16.0.9:2379: reconnecting, certain 90.0 s ago',
  '  peers      2',
  '  ignored    x�[2J: its key is not a subnet',
  '  kernel     8 of 9 objects as wanted, 1 repairs since the start',
  '  failing    route 10.5.2.0/24: EPERM',
];

test('the status of a network, also of a daemon that has no more than that', () => {
  assert.deepEqual(formatViews([{ status: STATUS }], PLAIN), TEXT);
});

test('what the probes found and the newest warnings follow', () => {
  const way = { sent: 1, answered: 1, fullSize: 'passes' } as const;
  const probe = {
    at: '',
    findings: [],
    tunnel: way,
    underlay: way,
    tcp: 'answered',
    responder: true,
  } as const;
  const peer = (lease: string, state?: 'up' | 'down'): Peer => ({
    lease,
    lastSeen: '',
    programmed: 'yes',
    since: '',
    ...(state !== undefined && { probe: { ...probe, state } }),
  });
  const event = (id: number, severity: HostEvent['severity'], count = 1): HostEvent => ({
    id,
    at: new Date(PLAIN.now - 60_000 * (9 - id)).toISOString(),
    type: 'repair',
    severity,
    subject: 'flannel.1',
    text: `what happened as number ${id}`,
    count,
    firstAt: '',
  });
  const events = [
    { ...event(0, 'error'), at: new Date(PLAIN.now - 3_700_000).toISOString() },
    event(1, 'error'),
    event(2, 'warning'),
    event(3, 'info'),
    event(4, 'error'),
    event(5, 'warning', 7),
    { ...event(6, 'warning'), type: 'not-ready' as const },
  ];
  const peers = { peers: [peer('a', 'up'), peer('b', 'down'), peer('c')] };
  assert.deepEqual(formatViews([{ status: STATUS, peers, events: { events, forgotten: 0 } }], PLAIN), [
    ...TEXT,
    '  probes     1 up, 1 down, 1 not measured yet',
    '  event      7m ago, flannel.1: what happened as number 2',
    '  event      5m ago, flannel.1: what happened as number 4',
    '  event      4m ago, flannel.1: what happened as number 5 (7 times)',
  ]);
  assert.deepEqual(
    formatViews(
      [{ status: STATUS, peers: { peers: [peer('a')] }, events: { events: [], forgotten: 0 } }],
      PLAIN,
    ),
    TEXT,
  );
});

test('a status says to how many peers packets are encrypted', () => {
  const line = (plain: number) =>
    formatViews([{ status: { ...STATUS, peers: { accepted: 3, quarantined: [], plain } } }], PLAIN).find(
      (text) => text.startsWith('  encrypted'),
    );
  assert.equal(line(0), '  encrypted  packets to all 3 peers');
  assert.equal(line(1), '  encrypted  packets to 2 of 3 peers, 1 plain');
  assert.ok(!formatViews([{ status: STATUS }], PLAIN).some((text) => text.startsWith('  encrypted')));
});

test('a status says how far a change of the path is, and what holds it up', () => {
  const waits = [{ lease: '10.5.2.0-24', reason: 'nothing passes\x1b[2J by the new path' }];
  const change = { id: 'a1', phase: 'moving', from: 'vxlan', to: 'host-gw', done: 3, of: 4, waits } as const;
  const lines = formatViews([{ status: { ...STATUS, change: { ...change, trouble: 'no device' } } }], PLAIN);
  assert.deepEqual(
    lines.filter((line) => /^ {2}(change|held up)/.test(line)),
    [
      '  change     from vxlan to host-gw (a1, moving): done with 3 of 4 peers',
      '  held up    this host: no device',
      '  held up    10.5.2.0-24: nothing passes\ufffd[2J by the new path',
    ],
  );
});

test('a status says how far a rotation of keys is', () => {
  const lines = (rotation: NonNullable<NodeStatus['rotation']>) =>
    formatViews([{ status: { ...STATUS, rotation } }], PLAIN).filter((text) =>
      /^ {2}(keys|held up) /.test(text),
    );
  assert.deepEqual(
    lines({ generation: 3, phase: 'idle', nextSeconds: 7_200, heldUp: [], reason: 'x is flannel' }),
    ['  keys       number 3, the next is due in 2h; not rotated: x is flannel'],
  );
  const heldUp = [{ lease: '10.5.2.0-24', reason: 'no handshake with its next key' }];
  assert.deepEqual(lines({ generation: 3, phase: 'moving', peers: 2, moved: 1, heldUp }), [
    '  keys       number 3, packets to 1 of 2 peers go by the next one',
    '  held up    10.5.2.0-24: no handshake with its next key',
  ]);
});
