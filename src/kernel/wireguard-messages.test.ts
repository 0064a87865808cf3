import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeRequests, type Message, messagesIn, type Request } from '#src/kernel/message.ts';
import { deviceRequest, peerRemoval, peerRequest, WireguardReader } from '#src/kernel/wireguard-messages.ts';
import { WireguardPrints } from '#src/kernel/wireguard-prints.ts';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import type { WireguardPeer } from '#src/state/object.ts';

const FAMILY = 33;
const keyText = (n: number) => Buffer.alloc(32, n).toString('base64');
const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);
const secretOf = (n: number) => Secret.copyOf(new Uint8Array(32).fill(n));

const PEER: WireguardPeer = {
  kind: 'wireguard-peer',
  device: 'flannel-wg',
  publicKey: keyText(2),
  endpoint: { ip: parseIp('192.0.2.9') ?? assert.fail(), port: 51_820 },
  allowedIps: [prefix('10.5.2.0/24'), prefix('fd00:2::/64')],
  presharedKey: secretOf(7),
  keepalive: 25,
};
const PEER6: WireguardPeer = {
  ...PEER,
  publicKey: keyText(3),
  endpoint: { ip: parseIp('2001:db8::9') ?? assert.fail(), port: 1 },
  allowedIps: [prefix('10.5.3.0/24')],
};
const DEVICE = {
  kind: 'wireguard-device',
  device: 'flannel-wg',
  publicKey: '',
  privateKey: secretOf(9),
  listenPort: 51_820,
  fwmark: 5,
} as const;

/** What is sent to set a device has the form of what a dump of it says. */
const messagesOf = (...requests: readonly Request[]): Message[] =>
  messagesIn(Buffer.from(encodeRequests(requests, 1)));
const plain = (peer: WireguardPeer) => ({ ...peer, handshakeAt: 0, received: 0, sent: 0 });

function read(messages: readonly Message[]): WireguardReader {
  const reader = new WireguardReader();
  for (const message of messages) reader.read(message);
  return reader;
}

test('a peer is read as it was written, with endpoints of both families', () => {
  const { device, peers } = read(messagesOf(peerRequest(FAMILY, PEER), peerRequest(FAMILY, PEER6)));
  assert.equal(device?.device, 'flannel-wg');
  const [first, second] = peers;
  assert.deepEqual({ ...first, presharedKey: undefined }, { ...plain(PEER), presharedKey: undefined });
  assert.deepEqual({ ...second, presharedKey: undefined }, { ...plain(PEER6), presharedKey: undefined });
  assert.ok(first?.presharedKey?.equals(secretOf(7)));
  // One preshared key for all peers is held once.
  assert.equal(first?.presharedKey, second?.presharedKey);
});

test('a peer without a preshared key has 32 zero bytes, which are none', () => {
  const { presharedKey: _, ...without } = PEER;
  const message = encodeRequests([peerRequest(FAMILY, without)], 1);
  assert.ok(Buffer.from(message).includes(Buffer.alloc(32)));
  assert.ok(!('presharedKey' in (read(messagesIn(message)).peers[0] ?? {})));
});

test('a peer whose allowed IPs go on in the next message is one peer', () => {
  const [a, b] = PEER.allowedIps;
  assert.ok(a && b);
  const { peers } = read(
    messagesOf(
      peerRequest(FAMILY, { ...PEER, allowedIps: [a] }),
      peerRequest(FAMILY, { ...PEER, allowedIps: [b] }),
      peerRequest(FAMILY, PEER6),
    ),
  );
  assert.deepEqual(
    peers.map(({ allowedIps }) => allowedIps.length),
    [2, 1],
  );
});

test('a private key is not read, and wiped where it lies', () => {
  const bytes = Buffer.from(encodeRequests([deviceRequest(FAMILY, DEVICE)], 1));
  assert.ok(bytes.includes(Buffer.alloc(32, 9)));
  const { device } = read(messagesIn(bytes));
  assert.ok(!bytes.includes(Buffer.alloc(32, 9)));
  assert.deepEqual(device, {
    kind: 'wireguard-device',
    device: 'flannel-wg',
    publicKey: '',
    listenPort: 51_820,
    fwmark: 5,
  });
});

test('what is cut off anywhere is no crash', () => {
  const whole = encodeRequests([peerRequest(FAMILY, PEER), peerRemoval(FAMILY, PEER6)], 1);
  for (let length = 0; length < whole.length; length++) {
    read(messagesIn(Uint8Array.from(whole.subarray(0, length))));
    printsOf(messagesIn(Uint8Array.from(whole.subarray(0, length))));
  }
});

function printsOf(messages: readonly Message[]): WireguardPrints {
  const prints = new WireguardPrints();
  prints.begin();
  for (const message of messages) prints.read(message);
  return prints;
}

const CHANGES: readonly (readonly [string, Partial<WireguardPeer>])[] = [
  ['another key', { publicKey: keyText(4) }],
  [
    'another endpoint',
    { endpoint: { ...PEER.endpoint, port: 51_821 } as NonNullable<WireguardPeer['endpoint']> },
  ],
  ['another allowed IP', { allowedIps: [prefix('10.5.2.0/25'), prefix('fd00:2::/64')] }],
  ['one allowed IP more', { allowedIps: [...PEER.allowedIps, prefix('10.5.9.0/24')] }],
  ['another preshared key', { presharedKey: secretOf(8) }],
  ['another keepalive', { keepalive: 0 }],
];

test('fingerprints are equal for the same peers only, and the messages are wiped', () => {
  const requests = () => [
    deviceRequest(FAMILY, DEVICE),
    ...Array.from({ length: 40 }, (_, n) => peerRequest(FAMILY, { ...PEER, publicKey: keyText(n + 50) })),
    peerRequest(FAMILY, PEER),
  ];
  const bytes = Buffer.from(encodeRequests(requests(), 1));
  const prints = printsOf(messagesIn(bytes));
  assert.equal(prints.count, 41);
  assert.ok(!bytes.includes(Buffer.alloc(32, 9)) && !bytes.includes(Buffer.alloc(32, 7)));
  assert.ok(prints.equals(printsOf(messagesOf(...requests()))));
  for (const [name, change] of CHANGES) {
    const others = [...requests().slice(0, -1), peerRequest(FAMILY, { ...PEER, ...change })];
    assert.ok(!prints.equals(printsOf(messagesOf(...others))), name);
  }
  assert.ok(!prints.equals(printsOf(messagesOf(...requests().slice(0, -1)))));
  assert.ok(!prints.equals(printsOf(messagesOf())));
});

test('the fingerprint of a peer in two messages is of both', () => {
  const [a, b] = PEER.allowedIps;
  assert.ok(a && b);
  const halves = (second: typeof a) =>
    printsOf(
      messagesOf(
        peerRequest(FAMILY, { ...PEER, allowedIps: [a] }),
        peerRequest(FAMILY, { ...PEER, allowedIps: [second] }),
      ),
    );
  assert.equal(halves(b).count, 1);
  assert.ok(halves(b).equals(halves(b)));
  assert.ok(!halves(b).equals(halves(prefix('10.5.99.0/24'))));
});
