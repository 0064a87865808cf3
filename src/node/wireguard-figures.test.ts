import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { WireguardPeerReport } from '#src/kernel/wireguard-messages.ts';
import { parseIp } from '#src/lib/ip.ts';
import type { Lease } from '#src/network/lease.ts';
import { readWireguardFigures } from '#src/node/wireguard-figures.ts';

const AT = Date.UTC(2026, 0, 2, 3, 4, 5);
const report = (device: string, publicKey: string, more: Partial<WireguardPeerReport> = {}) => ({
  ...{ kind: 'wireguard-peer' as const, device, publicKey, allowedIps: [], keepalive: 0 },
  ...{ handshakeAt: 0, received: 0, sent: 0, ...more },
});
const REPORTS = [
  report('flannel-wg', 'a', {
    endpoint: { ip: parseIp('192.0.2.2') ?? assert.fail(), port: 51_820 },
    ...{ handshakeAt: AT, received: 5, sent: 7 },
  }),
  report('flannel-wg-v6', 'a', { handshakeAt: AT - 1_000, received: 50, sent: 70 }),
  report('flannel-wg', 'b', { sent: 148 }),
];
const tunnels = {
  reports: async (device: string) => REPORTS.filter((one) => one.device === device),
};
const backend = {
  devices: ['flannel-wg', 'flannel-wg-v6', 'gone'],
  identityOf: ({ backendType }: Lease['attributes']) => [backendType],
  protectionOf: () => 'wireguard' as const,
};
const leaseOf = (key: string): Lease => ({
  ...{ name: '', revision: 0n, subnets: {}, expiry: { kind: 'reservation' } as const },
  attributes: { backendType: key },
});

test('the figures of a peer are those of its tunnels on all devices', async () => {
  const figures = await readWireguardFigures(tunnels, backend);
  assert.deepEqual(figures?.(leaseOf('a')), {
    endpoint: '192.0.2.2:51820',
    handshakeAt: '2026-01-02T03:04:05.000Z',
    received: 55,
    sent: 77,
  });
  assert.deepEqual(figures?.(leaseOf('b')), { received: 0, sent: 148 });
  assert.equal(figures?.(leaseOf('c')), undefined);
});

test('a backend that never encrypts is not asked for, and a device that can not be read has no figures', async () => {
  const { protectionOf: _, ...plain } = backend;
  assert.equal(await readWireguardFigures(tunnels, plain), undefined);
  const failing = { reports: () => Promise.reject(new Error('no')) };
  assert.equal(await readWireguardFigures(failing, backend), undefined);
});
