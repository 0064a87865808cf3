import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import type { Namespace } from '../firewall/namespace.ts';
import {
  arp,
  BROADCAST,
  ethernet,
  type FrameSocket,
  openFrames,
  packet4,
  udp,
  vxlan,
} from '../support/frames.ts';
import { cannotRun } from '../support/test-lab.ts';
import {
  batch,
  guard,
  ip,
  type Member,
  mac,
  makeSegment,
  PORT,
  pathOf,
  type Segment,
  VNI,
} from './segment.ts';

/*
 * VXLAN packets that no host of the network made, in the segment of segment.ts: c listens on h2. a writes them and sends
 * them out by docker_gwbridge, a stranger by the underlay.
 */
const skip = cannotRun('nft', 'ping');

const IPV4 = 0x0800;
const ARP = 0x0806;
const UDP = 17;

/** What somebody wants c to hear. */
const FORGED = ethernet(
  BROADCAST,
  mac('02:42:0a:05:00:63'),
  ARP,
  arp({ operation: 1, mac: mac('02:42:0a:05:00:63'), sender: ip('10.5.0.99'), target: ip('10.5.0.99') }),
);

interface Sender {
  readonly frames: FrameSocket;
  /** A VXLAN packet with {@link FORGED} in it. */
  readonly packet: (to: string) => Uint8Array;
}

/** The device's own address and MAC; the next hop's MAC is asked for with a ping first. */
async function senderOn(
  t: Parameters<typeof openFrames>[0],
  namespace: Namespace,
  { device, nextHop, source }: { device: string; nextHop: string; source?: string },
): Promise<Sender> {
  await namespace.must(`ping -n -c1 -W5 ${nextHop}`);
  const [link] = JSON.parse(await namespace.must(`ip -j addr show ${device}`)) as {
    ifindex: number;
    address: string;
    addr_info: { family: string; local: string }[];
  }[];
  const [neighbour] = JSON.parse(await namespace.must(`ip -j neigh show ${nextHop}`)) as { lladdr: string }[];
  assert.ok(link && neighbour);
  const own = link.addr_info.find(({ family }) => family === 'inet')?.local ?? '';
  return {
    frames: await openFrames(t, pathOf(namespace), link.ifindex),
    packet: (to) =>
      ethernet(
        mac(neighbour.lladdr),
        mac(link.address),
        IPV4,
        packet4(
          { source: ip(source ?? own), target: ip(to), protocol: UDP },
          udp(4000, PORT, vxlan(VNI, FORGED)),
        ),
      ),
  };
}

/** Whether c hears the forged frame; a ping through the tunnel, sent after it, comes after it. */
async function isHeard({ a, c }: Segment, { frames, packet }: Sender, to: string): Promise<boolean> {
  c.frames.take();
  frames.send(packet(to));
  const heard: Buffer[] = [];
  await until(
    async () => {
      await a.namespace.run(['ping', '-n', '-c1', '-W1', '10.5.0.4']);
      heard.push(...c.frames.take());
      return heard.some((frame) => isPing(frame, a));
    },
    { what: 'ping of a' },
  );
  return heard.some((frame) => frame.subarray(0, 42).equals(FORGED.subarray(0, 42)));
}

const isPing = (frame: Buffer, { mac: own }: Member): boolean =>
  frame.readUInt16BE(12) === IPV4 &&
  frame[23] === 1 &&
  frame.toString('hex', 6, 12) === own.replaceAll(':', '');

test('no frame comes into a tenant from anybody but the hosts', { skip }, async (t) => {
  const segment = await makeSegment(t);
  const { a, b, c, h1, h2, stranger } = segment;
  const container = await senderOn(t, a.namespace, { device: 'eth1', nextHop: '172.18.0.1' });
  const outside = await senderOn(t, stranger, { device: 'eth0', nextHop: '192.0.2.2' });

  await t.test('without the rules, both get in', async () => {
    assert.equal(await isHeard(segment, container, '192.0.2.2'), true);
    assert.equal(await isHeard(segment, outside, '192.0.2.2'), true);
  });

  const second = await guard(t.signal, h2, [c]);
  await t.test('a stranger host does not', async () => {
    assert.equal(await isHeard(segment, outside, '192.0.2.2'), false);
    assert.equal((await second.dropped()).get('stranger'), 1);
  });
  await t.test('with its host’s address a container would: only its own host can stop it', async () => {
    assert.equal(await isHeard(segment, container, '192.0.2.2'), true);
  });

  const first = await guard(t.signal, h1, [a, b]);
  for (const to of ['192.0.2.2', '192.0.2.9', '192.0.2.1', '172.18.0.1']) {
    await t.test(`its host drops what a container sends to ${to}`, async () => {
      const before = (await first.dropped()).get('stranger') ?? 0;
      assert.equal(await isHeard(segment, container, to), false);
      assert.equal((await first.dropped()).get('stranger'), before + 1);
    });
  }
  await t.test('under the address of another host too', async () => {
    const liar = await senderOn(t, a.namespace, {
      device: 'eth1',
      nextHop: '172.18.0.1',
      source: '192.0.2.2',
    });
    for (const to of ['192.0.2.1', '172.18.0.1']) {
      const before = (await first.dropped()).get('stranger') ?? 0;
      assert.equal(await isHeard(segment, liar, to), false);
      assert.equal((await first.dropped()).get('stranger'), before + 1);
    }
  });
  await t.test('a process of the host may not send there', async () => {
    for (const to of ['192.0.2.2', '127.0.0.1']) {
      const { code, stderr } = await h1.host.run(['bash', '-c', `echo forged > /dev/udp/${to}/${PORT}`]);
      assert.notEqual(code, 0);
      assert.match(stderr, /not permitted/);
    }
    assert.equal((await first.dropped()).get('process'), 2);
    const { code } = await h1.host.run(['bash', '-c', `echo other > /dev/udp/192.0.2.2/${PORT + 1}`]);
    assert.equal(code, 0);
  });
  await t.test('a container may send to other ports', async () => {
    await a.namespace.must('ping -n -c1 -W5 192.0.2.2');
    const { code } = await a.namespace.run(['bash', '-c', `echo other > /dev/udp/192.0.2.2/${PORT + 1}`]);
    assert.equal(code, 0);
  });
  await t.test('a host that leaves is a stranger, one that comes is heard', async () => {
    await second.setPeers({ vteps: [ip('192.0.2.1'), ip('192.0.2.9'), ip('fd00::9')], underlays: ['eth0'] });
    assert.equal(await isHeard(segment, outside, '192.0.2.2'), true);
    await second.setPeers({ vteps: [ip('192.0.2.1')], underlays: ['eth0'] });
    assert.equal(await isHeard(segment, outside, '192.0.2.2'), false);
    await second.setPeers({ vteps: [ip('192.0.2.1')], underlays: ['eth9'] });
    assert.notEqual((await a.namespace.run(['ping', '-n', '-c1', '-W1', '10.5.0.4'])).code, 0);
  });
});

test('over IPv6 too, a stranger is not heard', { skip }, async (t) => {
  const { c, h2, stranger } = await makeSegment(t);
  for (const [namespace, number] of [
    [h2.host, 2],
    [stranger, 9],
  ] as const) {
    await batch(namespace, [`addr add fd00::${number}/64 dev eth0 nodad`]);
  }
  const rules = await guard(t.signal, h2, [c]);
  const [link] = JSON.parse(await stranger.must('ip -j link show eth0')) as { ifindex: number }[];
  const frames = await openFrames(t, pathOf(stranger), link?.ifindex ?? 0);
  const send = () => stranger.run(['bash', '-c', `echo forged > /dev/udp/fd00::2/${PORT}`]);
  /** Nobody listens there in IPv6: a packet that gets through is answered with an error. */
  const isRefused = () => frames.take().some((frame) => frame.readUInt16BE(12) === 0x86dd && frame[54] === 1);

  await send();
  await until(async () => (await rules.dropped()).get('stranger') === 1, { what: 'drop' });
  assert.equal(isRefused(), false);
  // The other host stays one: its bridge may say something at any time.
  await rules.setPeers({ vteps: [ip('192.0.2.1'), ip('fd00::9')], underlays: ['eth0'] });
  await send();
  await until(isRefused, { what: 'answer of h2' });
  assert.equal((await rules.dropped()).get('stranger'), 1);
});
