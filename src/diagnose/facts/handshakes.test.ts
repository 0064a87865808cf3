import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readHandshakes } from '#src/diagnose/facts/handshakes.ts';
import type { WireguardPeerReport } from '#src/kernel/wireguard-messages.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const signal = new AbortController().signal;
const report = (handshakeAt: number, sent: number): WireguardPeerReport => ({
  ...{ kind: 'wireguard-peer', device: 'flannel-wg', publicKey: 'k', allowedIps: [], keepalive: 0 },
  ...{ handshakeAt, received: 0, sent },
});

test('a tunnel with a handshake is looked at once, and costs no wait', async () => {
  const clock = new FakeClock();
  let looks = 0;
  const reports = async () => {
    looks++;
    return [report(clock.now() - 60_000, 900)];
  };
  const [seen] = await readHandshakes({ reports, clock }, ['flannel-wg'], signal);
  assert.deepEqual([looks, seen?.sent, seen?.sentMeanwhile], [1, 900, 0]);
});

test('where a handshake is overdue, a second look shows whether packets are sent', async () => {
  const clock = new FakeClock();
  let sent = 900;
  const reports = async () => {
    sent += 148;
    return [report(clock.now() - 600_000, sent)];
  };
  const reading = readHandshakes({ reports, clock }, ['flannel-wg'], signal);
  await clock.advance(10_000);
  const [seen] = await reading;
  assert.equal(seen?.sentMeanwhile, 148);
});
