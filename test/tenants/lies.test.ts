import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, ipv4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { until } from '#src/sys/until.ts';
import { arp, BROADCAST, ethernet, neighbour, packet4, packet6, udp } from '../support/frames.ts';
import { cannotRun } from '../support/test-lab.ts';
import { batch, guard, ip, type Member, mac, makeSegment, rulesOf, type Segment } from './segment.ts';

/*
 * What a container says of itself, in the segment of segment.ts: a lies, b and c listen.
 */
const skip = cannotRun('nft', 'ping', 'busybox');

const ARP = 0x0806;
const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const ICMPV6 = 58;
const UDP = 17;
const ALL_NODES = mac('33:33:00:00:00:01');
const ANY4: Ip = ipv4(0);
const ANY6 = ip('::');

/** Sends frames of one machine, and one that is honest; the numbers of those that come to the listener, in order. */
async function arrivals(from: Member, to: Member, frames: readonly Uint8Array[]): Promise<number[]> {
  to.frames.take();
  const all = [...frames, honest(from)];
  for (const frame of all) from.frames.send(frame);
  const arrived: number[] = [];
  await until(
    () => {
      for (const frame of to.frames.take()) {
        const index = all.findIndex((it) => isSame(it, frame));
        if (index >= 0) arrived.push(index);
      }
      return arrived.includes(frames.length);
    },
    { what: 'honest frame' },
  );
  return arrived.filter((index) => index < frames.length);
}

/** A bridge with br_netfilter cuts off what is behind the IP packet; a packet socket hears a frame without its VLAN tag. */
const isSame = (sent: Uint8Array, received: Buffer): boolean =>
  received.length >= SHORTEST &&
  [sent, Buffer.concat([sent.subarray(0, 12), sent.subarray(16)])].some((bytes) =>
    received.equals(bytes.subarray(0, received.length)),
  );

/** Ethernet and ARP. */
const SHORTEST = 42;

/** It asks who has an address that nobody has. */
const honest = ({ mac: own, v4 }: Member): Uint8Array =>
  ethernet(BROADCAST, own, ARP, arp({ operation: 1, mac: own, sender: v4, target: ip('10.5.0.250') }));

/** Frames that a must not send to b, by what is false in them; the counter that counts each. */
function liesOf({
  a,
  b,
  c,
}: Segment): readonly (readonly [what: string, counter: string, frame: Uint8Array])[] {
  const data = udp(4000, 5000, new Uint8Array(20));
  const v4 = (source: Ip, payload = data, flags = 0) =>
    packet4({ source, target: b.v4, protocol: UDP, flags }, payload);
  const v6 = (source: Ip, payload: Uint8Array, protocol = ICMPV6) =>
    packet6({ source, target: b.v6, protocol }, payload);
  const from = (own: Mac, type: number, payload: Uint8Array, to: Mac = b.mac) =>
    ethernet(to, own, type, payload);
  const claim = (operation: number, own: Mac, sender: Ip, target: Ip) =>
    from(a.mac, ARP, arp({ operation, mac: own, sender, target }), BROADCAST);
  const tagged = (port: number) =>
    Buffer.concat([Buffer.from('00050800', 'hex'), v4(c.v4, udp(port, port, new Uint8Array(20)))]);
  return [
    ['another MAC', 'false-mac', from(c.mac, IPV4, v4(a.v4))],
    ['another MAC, its address too', 'false-mac', from(c.mac, IPV4, v4(c.v4))],
    [
      'ARP by another MAC',
      'false-mac',
      from(c.mac, ARP, arp({ operation: 1, mac: c.mac, sender: c.v4, target: b.v4 })),
    ],
    ['another IPv4 source', 'false-address', from(a.mac, IPV4, v4(c.v4))],
    ['no IPv4 source', 'false-address', from(a.mac, IPV4, v4(ANY4))],
    ['another IPv4 source, in a later fragment', 'false-address', from(a.mac, IPV4, v4(c.v4, data, 100))],
    ['another IPv4 source, to everybody', 'false-address', from(a.mac, IPV4, v4(c.v4), BROADCAST)],
    ['ARP request in the name of another', 'false-arp', claim(1, a.mac, c.v4, b.v4)],
    ['ARP reply in the name of another', 'false-arp', claim(2, a.mac, c.v4, b.v4)],
    ['gratuitous ARP for another', 'false-arp', claim(1, a.mac, c.v4, c.v4)],
    ['ARP that gives the own address to another', 'false-arp', claim(2, c.mac, a.v4, b.v4)],
    ['ARP reply for no address', 'false-arp', claim(2, a.mac, ANY4, b.v4)],
    ['reverse ARP', 'false-arp', claim(3, a.mac, a.v4, a.v4)],
    ['another IPv6 source', 'false-address', from(a.mac, IPV6, v6(c.v6, data, UDP))],
    ['no IPv6 source', 'false-address', from(a.mac, IPV6, v6(ANY6, data, UDP))],
    ['another link-local source', 'false-address', from(a.mac, IPV6, v6(c.linkLocal, neighbour(135, b.v6)))],
    [
      'advertisement in the name of another',
      'false-neighbour',
      from(a.mac, IPV6, v6(c.v6, neighbour(136, c.v6))),
    ],
    [
      'advertisement of the address of another',
      'false-neighbour',
      from(a.mac, IPV6, v6(a.v6, neighbour(136, c.v6))),
    ],
    [
      'the same with an extension header',
      'false-neighbour',
      from(
        a.mac,
        IPV6,
        v6(a.v6, Buffer.concat([Buffer.from('3a00010400000000', 'hex'), neighbour(136, c.v6)]), 60),
      ),
    ],
    [
      'advertisement of another, to all',
      'false-neighbour',
      from(a.mac, IPV6, v6(a.linkLocal, neighbour(136, c.v6)), ALL_NODES),
    ],
    ['is the address of another free?', 'false-address', from(a.mac, IPV6, v6(ANY6, neighbour(135, c.v6)))],
    ['advertisement without a source', 'false-neighbour', from(a.mac, IPV6, v6(ANY6, neighbour(136, a.v6)))],
    ['router advertisement', 'server', from(a.mac, IPV6, v6(a.linkLocal, neighbour(134, a.v6)), ALL_NODES)],
    [
      'answer of a DHCP server',
      'server',
      from(a.mac, IPV4, v4(a.v4, udp(67, 68, new Uint8Array(240))), BROADCAST),
    ],
    [
      'answer of a DHCPv6 server',
      'server',
      from(a.mac, IPV6, v6(a.v6, udp(547, 546, new Uint8Array(20)), UDP)),
    ],
    [
      'BPDU of spanning tree',
      'other-protocol',
      from(a.mac, 0x0026, Buffer.from('4242030000', 'hex'), mac('01:80:c2:00:00:00')),
    ],
    ['LLDP', 'other-protocol', from(a.mac, 0x88cc, new Uint8Array(20), mac('01:80:c2:00:00:00'))],
    ['VLAN tag over another IPv4 source', 'other-protocol', from(a.mac, 0x8100, tagged(1))],
    ['VLAN tag of a provider', 'other-protocol', from(a.mac, 0x88a8, tagged(2))],
    ['MPLS', 'other-protocol', from(a.mac, 0x8847, tagged(3))],
  ];
}

/** Frames that the tests above must not be the reason for losing. */
function truthsOf({ a, b }: Segment): readonly (readonly [what: string, frame: Uint8Array])[] {
  const v6 = (source: Ip, payload: Uint8Array) =>
    ethernet(ALL_NODES, a.mac, IPV6, packet6({ source, target: ip('ff02::1'), protocol: ICMPV6 }, payload));
  const claim = (operation: number, sender: Ip, target: Ip) =>
    ethernet(BROADCAST, a.mac, ARP, arp({ operation, mac: a.mac, sender, target }));
  const data = udp(4000, 5000, new Uint8Array(20));
  const v4 = (flags: number) =>
    ethernet(b.mac, a.mac, IPV4, packet4({ source: a.v4, target: b.v4, protocol: UDP, flags }, data));
  return [
    ['ARP request', claim(1, a.v4, b.v4)],
    ['ARP reply', claim(2, a.v4, b.v4)],
    ['gratuitous ARP as a request', claim(1, a.v4, a.v4)],
    ['gratuitous ARP as a reply', claim(2, a.v4, a.v4)],
    ['ARP probe', claim(1, ANY4, a.v4)],
    ['IPv4', v4(0)],
    ['first fragment', v4(0x2000)],
    ['later fragment', v4(100)],
    ['solicitation', v6(a.linkLocal, neighbour(135, b.v6))],
    ['advertisement', v6(a.v6, neighbour(136, a.v6))],
    ['advertisement by the link-local address', v6(a.linkLocal, neighbour(136, a.v6))],
    ['is my address free?', v6(ANY6, neighbour(135, a.v6))],
    ['is my link-local address free?', v6(ANY6, neighbour(135, a.linkLocal))],
    ['router solicitation', v6(ANY6, neighbour(133, ANY6))],
    ['report of groups', v6(ANY6, neighbour(143, ANY6))],
    [
      'question of a DHCP client',
      ethernet(
        BROADCAST,
        a.mac,
        IPV4,
        packet4(
          { source: a.v4, target: ip('255.255.255.255'), protocol: UDP },
          udp(68, 67, new Uint8Array(240)),
        ),
      ),
    ],
  ];
}

test('a container sends under no name but its own', { skip }, async (t) => {
  const segment = await makeSegment(t);
  const { a, b, c } = segment;
  const lies = liesOf(segment);
  const truths = truthsOf(segment);
  const all = lies.map(([what]) => what);

  await t.test('without the rules each lie arrives', async () => {
    const marks = await arrivals(
      a,
      b,
      lies.map(([, , frame]) => frame),
    );
    assert.deepEqual(
      all.filter((_, index) => !marks.includes(index)),
      [],
    );
  });

  const rules = await guard(t.signal, segment.h1, [a, b]);
  await guard(t.signal, segment.h2, [c]);

  await t.test('with them none does, and each is counted', async () => {
    for (const [what, counter, frame] of lies) {
      const before = (await rules.dropped()).get(counter) ?? 0;
      assert.deepEqual(await arrivals(a, b, [frame]), [], what);
      assert.equal((await rules.dropped()).get(counter), before + 1, `${what}: counted as ${counter}`);
    }
  });
  await t.test('nor on the other host', async () => {
    assert.deepEqual(
      await arrivals(
        a,
        c,
        lies.map(([, , frame]) => frame),
      ),
      [],
    );
  });
  await t.test('the truth arrives', async () => {
    const marks = await arrivals(
      a,
      b,
      truths.map(([, frame]) => frame),
    );
    assert.deepEqual(
      marks.map((index) => truths[index]?.[0]),
      truths.map(([what]) => what),
    );
  });
  await t.test('honest traffic passes, on the host and to another', async () => {
    await tryHonestTraffic(a, [b, c]);
  });
});

async function tryHonestTraffic(from: Member, targets: readonly Member[]): Promise<void> {
  for (const to of targets) {
    await from.namespace.must('ip neigh flush dev eth0');
    const last = Number(to.v4) & 255;
    for (const address of [`10.5.0.${last}`, `fd00:5::${last}`]) {
      await from.namespace.must(`ping -n -c1 -W5 ${address}`);
      await from.namespace.must(`ping -n -c1 -W5 -s 4000 ${address}`);
    }
    const server = to.namespace.run(['timeout', '10', 'busybox', 'nc', '-l', '-p', '8080'], {
      stdin: 'hello',
    });
    await until(async () => (await to.namespace.must('ss -ltn')).includes(':8080'), { what: 'server' });
    const { stdout } = await from.namespace.run(['timeout', '5', 'busybox', 'nc', `10.5.0.${last}`, '8080']);
    assert.equal(stdout, 'hello');
    await server;
  }
}

test('an address that is being taken is checked, and taken', { skip }, async (t) => {
  const segment = await makeSegment(t);
  const { a, b } = segment;
  const rules = await guard(t.signal, segment.h1, [a, b]);
  await rules.setPort(a.port, { mac: a.mac, addresses: [a.v4, a.v6, ip('fd00:5::77')] });
  await a.namespace.must('sysctl -qw net.ipv6.conf.eth0.dad_transmits=1');
  b.frames.take();
  await batch(a.namespace, ['addr add fd00:5::77/64 dev eth0']);
  await until(async () => !(await a.namespace.must('ip -6 addr show dev eth0')).includes('tentative'), {
    what: 'end of the check',
  });
  assert.doesNotMatch(await a.namespace.must('ip -6 addr show dev eth0'), /dadfailed/);
  const questions = b.frames.take().filter((frame) => frame[20] === ICMPV6 || frame[54] === 135);
  assert.ok(
    questions.some((frame) => frame.subarray(22, 38).every((byte) => byte === 0)),
    'b heard it',
  );
});

test('a port without an entry passes nothing, and one that comes and goes follows at once', {
  skip,
}, async (t) => {
  const segment = await makeSegment(t);
  const { a, b } = segment;
  const rules = await guard(t.signal, segment.h1, [b]);
  const hears = async (): Promise<boolean> => {
    const before = (await rules.dropped()).get('false-mac') ?? 0;
    b.frames.take();
    a.frames.send(honest(a));
    return until(
      async () => {
        if (b.frames.take().some((frame) => isSame(honest(a), frame))) return 'heard';
        return ((await rules.dropped()).get('false-mac') ?? 0) > before && 'dropped';
      },
      { what: 'frame or drop' },
    ).then((what) => what === 'heard');
  };
  assert.equal(await hears(), false);
  await rules.setPort(a.port, { mac: a.mac, addresses: [a.v4] });
  assert.equal(await hears(), true);
  await rules.removePort(a.port);
  assert.equal(await hears(), false);
  await rules.removePort('pnone');
  assert.deepEqual(await rules.removeAll(), [
    'nft delete table bridge weft',
    'nft delete table inet weft-tenants',
  ]);
  assert.deepEqual(await rulesOf(segment.h1).removeAll(), []);
});
