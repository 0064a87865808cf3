import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OwnEnds, PeerEnds } from '#src/backend/probe-ends.ts';
import { isSameJudgement, judge } from '#src/diagnose/probes/judge.ts';
import { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import { type Ipv4, parseIpv4 } from '#src/lib/ip.ts';

const ip = (text: string): Ipv4 => parseIpv4(text) ?? assert.fail(text);
const OWN: OwnEnds = {
  inside: ip('10.5.1.0'),
  outside: ip('192.0.2.1'),
  responder: ip('10.5.1.0'),
  mtu: { inside: 1450, outside: 1500 },
  device: 'eth0',
  inner: 'overlay0',
  carrier: 'UDP port 8472',
  mtuRemedy: (passes) => `set the MTU to ${passes}`,
};
const PEER: PeerEnds = {
  inside: ip('10.5.2.0'),
  outside: ip('192.0.2.2'),
  responder: ip('10.5.2.0'),
  isCertain: true,
};

interface Story {
  readonly ends?: PeerEnds;
  readonly before?: (peer: MeasuredPeer) => void;
  readonly inside?: readonly (boolean | string)[];
  readonly outside?: readonly boolean[];
}

const judgementOf = ({ ends = PEER, before, inside = [true], outside = [true] }: Story) => {
  const peer = new MeasuredPeer('10.5.2.0-24', ends);
  before?.(peer);
  for (const it of inside) {
    if (it === true) peer.inside.answered(1);
    else peer.inside.lost(it === false ? undefined : it);
  }
  for (const it of outside) {
    if (it) peer.outside.answered(1);
    else peer.outside.lost();
  }
  return judge(peer, OWN);
};

test('a peer of which everything answers is up', () => {
  assert.deepEqual(judgementOf({}), { state: 'up', findings: [] });
});

test('one or two lost packets are no outage, and three in a row are', () => {
  assert.equal(judgementOf({ inside: [true, false, false] }).state, 'up');
  assert.equal(judgementOf({ inside: [true, false, false, false] }).state, 'down');
});

test('the underlay distinguishes a dropped tunnel from a dead host', () => {
  const dropped = judgementOf({ inside: [false, false, false] });
  assert.match(
    dropped.findings[0] ?? '',
    /^nothing passes .* underlay answers: UDP port 8472 is dropped .*192\.0\.2\.2/,
  );
  const dead = judgementOf({ inside: [false, false, false], outside: [false, false, false] });
  assert.match(dead.findings[0] ?? '', /^neither .*: 192\.0\.2\.2 is down or cut off/);
  assert.deepEqual([dropped.state, dead.state], ['down', 'down']);
});

test('what can not leave this host is this host’s fault', () => {
  const { state, findings } = judgementOf({ inside: ['EPERM', 'EPERM', 'EPERM'] });
  assert.equal(state, 'down');
  assert.deepEqual(findings, ['this host can not send to 10.5.2.0: a packet filter of this host drops it']);
});

test('an underlay that answers no pings is no fault of the tunnel’s', () => {
  const { state, findings } = judgementOf({ outside: [false, false, false] });
  assert.equal(state, 'up');
  assert.deepEqual(findings, ['192.0.2.2 does not answer pings on the underlay, the tunnel does']);
});

test('losses of the last packets degrade, as figures that make no other judgement', () => {
  const one = judgementOf({ inside: [false, true, false, true, false, true] });
  assert.deepEqual(one, {
    state: 'degraded',
    findings: ['3 of the last 6 packets inside the tunnel had no answer'],
  });
  const other = judgementOf({ inside: [false, true, false, true, false, true, true] });
  assert.ok(isSameJudgement(one, other));
  assert.ok(!isSameJudgement(one, judgementOf({})));
  assert.equal(judgementOf({ inside: [false, true, false, true] }).state, 'up');
});

test('a small MTU is named with the size that passes, and how to set it', () => {
  const lost = (workingMtu?: number) =>
    judgementOf({
      before(peer) {
        peer.inside.full(false);
        peer.inside.full(false);
        peer.workingMtu = workingMtu;
      },
    });
  assert.deepEqual(lost(), {
    state: 'degraded',
    findings: ['packets of 1450 bytes are lost inside the tunnel'],
  });
  assert.deepEqual(lost(1350).findings, [
    'packets of 1450 bytes are lost inside the tunnel, 1350 pass: set the MTU to 1350',
  ]);
});

test('silent TCP is judged by what UDP does with a checksum and without one', () => {
  const silent = (withChecksum: boolean, withoutChecksum: boolean, tcpSilences = 2) =>
    judgementOf({
      before: (peer) =>
        Object.assign(peer, { tcp: 'silent', tcpSilences, udp: { withChecksum, withoutChecksum } }),
    });
  const offload = silent(false, true);
  assert.equal(offload.state, 'degraded');
  assert.match(
    offload.findings[0] ?? '',
    /^TCP and UDP with a checksum get no answer .*ethtool -K overlay0 tx-checksum-ip-generic off/,
  );
  assert.match(
    silent(true, true).findings[0] ?? '',
    /^TCP to 10\.5\.2\.0 gets no answer while ICMP and UDP do/,
  );
  // A firewall of the peer's host that lets in nothing but pings.
  assert.deepEqual(silent(false, false), { state: 'up', findings: [] });
  assert.equal(silent(false, true, 1).state, 'up');
});

test('an address that the peer may lack yet is no outage while the underlay answers', () => {
  const ends = { ...PEER, inside: ip('10.5.2.1'), isCertain: false };
  const never = judgementOf({ ends, inside: [false, false, false] });
  assert.equal(never.state, 'degraded');
  assert.match(never.findings[0] ?? '', /^10\.5\.2\.1 does not answer while the underlay does/);
  // It answered before.
  assert.equal(judgementOf({ ends, inside: [true, false, false, false] }).state, 'down');
  const dead = judgementOf({ ends, inside: [false, false, false], outside: [false, false, false] });
  assert.equal(dead.state, 'down');
});
