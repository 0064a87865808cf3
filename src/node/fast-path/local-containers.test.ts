import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIpv4, ipv4, type Prefix4, parseIpv4, parsePrefix4, prefix4 } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { LocalContainers } from '#src/node/fast-path/local-containers.ts';
import type { KernelObject, Link } from '#src/state/object.ts';

const SUBNET: Prefix4 = parsePrefix4('10.0.65.0/24') ?? assert.fail();
const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const mac = (n: number): Mac =>
  parseMac(`02:42:00:00:00:${n.toString(16).padStart(2, '0')}`) ?? assert.fail();

const veth = (name: string, index: number, more: Partial<Link> = {}): Link => ({
  ...{ kind: 'link', name, index, type: 'veth', master: 'docker0', peerNamespaceId: 0, qdisc: 'noqueue' },
  ...more,
});
const inThisNamespace = ({ peerNamespaceId: _, ...link }: Link): Link => link;
const neighbour = (address: string, n: number, device = 'docker0'): KernelObject => ({
  ...{ kind: 'neighbour', ip: ip(address), mac: n === 0 ? (parseMac('00:00:00:00:00:00') as Mac) : mac(n) },
  ...{ device, permanent: false },
});
const entry = (n: number, device: string, bridge = 'docker0'): KernelObject => ({
  ...{ kind: 'bridge-fdb', mac: mac(n), bridge, device, static: false },
});
const HOST: readonly KernelObject[] = [
  { kind: 'link', name: 'docker0', index: 3, type: 'bridge' },
  { kind: 'link', name: 'flannel.1', index: 4, type: 'vxlan' },
  { kind: 'address', prefix: prefix4(ip('10.0.65.1'), 24), device: 'docker0' },
  { kind: 'address', prefix: prefix4(ip('10.0.65.0'), 32), device: 'flannel.1' },
];

function locals(...more: KernelObject[]) {
  const said: string[] = [];
  const came: number[] = [];
  const found = new LocalContainers(SUBNET, {
    changed: (address, local) =>
      said.push(`${formatIpv4(address)} ${local === undefined ? 'gone' : `${local.mac} ${local.device}`}`),
    came: (ifindex) => came.push(ifindex),
  });
  found.replace([...HOST, ...more]);
  const changed = (object: KernelObject) => found.take({ type: 'changed', object });
  const removed = (object: KernelObject) => found.take({ type: 'removed', object });
  return { found, said, came, changed, removed, take: () => said.splice(0) };
}

const ONE = [veth('veth1', 11), neighbour('10.0.65.2', 2), entry(2, 'veth1')];
const IS_THERE = '10.0.65.2 02:42:00:00:00:02 veth1';

test('what is there at the start is found', () => {
  assert.deepEqual(locals(...ONE).said, [IS_THERE]);
});

for (const [name, order] of [
  ['device, neighbour, entry', [0, 1, 2]],
  ['entry, neighbour, device', [2, 1, 0]],
  ['neighbour, device, entry', [1, 0, 2]],
] as const) {
  test(`a container is found when all of it is known: ${name}`, () => {
    const { changed, said } = locals();
    for (const at of order) changed(ONE[at] as KernelObject);
    assert.deepEqual(said, [IS_THERE]);
    for (const at of order) changed(ONE[at] as KernelObject);
    assert.equal(said.length, 1, 'no news');
  });
}

test('only veths in the containers’ bridge with another end elsewhere count, and addresses of the subnet', () => {
  const { said } = locals(
    ...[veth('veth1', 11, { master: 'br9' }), neighbour('10.0.65.2', 2), entry(2, 'veth1')],
    ...[
      neighbour('10.0.65.3', 3),
      entry(3, 'eth7'),
      { kind: 'link', name: 'eth7', master: 'docker0' } as const,
    ],
    ...[veth('veth4', 14), neighbour('10.0.66.4', 4), entry(4, 'veth4')],
    ...[neighbour('10.0.65.5', 5, 'br9'), entry(5, 'veth4', 'br9')],
    ...[inThisNamespace(veth('veth6', 16)), neighbour('10.0.65.6', 6), entry(6, 'veth6')],
  );
  assert.deepEqual(said, []);
});

test('a container goes with its device, and another device of that name is another one', () => {
  const { changed, removed, take } = locals(...ONE);
  take();
  removed(veth('veth1', 11));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
  changed(veth('veth1', 12));
  assert.deepEqual(take(), []);
  changed(neighbour('10.0.65.2', 2));
  changed(entry(2, 'veth1'));
  assert.deepEqual(take(), [IS_THERE]);
  // Without an event of its end.
  changed(veth('veth1', 13));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
});

test('a veth that comes into a bridge is said once, before anything else of its container is known', () => {
  const { found, came, changed, removed } = locals(...ONE);
  changed(veth('veth1', 11));
  assert.deepEqual(came, [], 'it was there');
  changed(inThisNamespace(veth('veth2', 12, { master: null })));
  changed({ kind: 'link', name: 'eth7', index: 17, master: 'docker0' });
  changed(veth('veth3', 13, { master: 'br9' }));
  assert.deepEqual(came, []);
  changed(inThisNamespace(veth('veth2', 12)));
  assert.deepEqual(came, [12], 'Docker moves its other end later');
  changed(veth('veth2', 12, { up: true }));
  assert.deepEqual(came, [12]);
  removed(veth('veth2', 12));
  changed(veth('veth2', 22));
  assert.deepEqual(came, [12, 22]);
  found.replace([...HOST, veth('veth4', 14)]);
  changed(veth('veth4', 14));
  assert.deepEqual(came, [12, 22], 'its container may run');
});

test('what the kernel only forgets stays; an address without an answer goes', () => {
  const { changed, removed, take } = locals(...ONE);
  take();
  removed(entry(2, 'veth1'));
  removed(neighbour('10.0.65.2', 2));
  assert.deepEqual(take(), []);
  changed(neighbour('10.0.65.2', 0));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
});

test('another MAC, another port and a queue are news', () => {
  const { found, changed, take } = locals(...ONE, veth('veth2', 12));
  take();
  changed(neighbour('10.0.65.2', 3));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
  changed(entry(3, 'veth2'));
  assert.deepEqual(take(), ['10.0.65.2 02:42:00:00:00:03 veth2']);
  changed(veth('veth2', 12, { qdisc: 'tbf' }));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
  assert.deepEqual([...found.queued], [['veth2', 'tbf']]);
  changed(veth('veth2', 12));
  assert.deepEqual(take(), ['10.0.65.2 02:42:00:00:00:03 veth2']);
  changed(veth('veth2', 12, { master: 'br9' }));
  assert.deepEqual(take(), ['10.0.65.2 gone']);
});

test('a bridge that comes or goes asks for a look at everything', () => {
  const { found, changed, removed } = locals(...ONE);
  const other: KernelObject = { kind: 'address', prefix: prefix4(ip('10.0.65.129'), 25), device: 'br7' };
  assert.equal(changed(other), 'again');
  assert.equal(changed(HOST[2] as KernelObject), undefined);
  assert.equal(removed(HOST[0] as KernelObject), 'again');
  assert.equal(found.take({ type: 'overrun' }), 'again');
  found.replace(HOST.slice(1));
  assert.deepEqual([...found.locals], []);
});

test('a look at everything keeps what was only learnt, of devices that are the same', () => {
  const { found, take, removed } = locals(...ONE);
  removed(entry(2, 'veth1'));
  take();
  found.replace([...HOST, veth('veth1', 11)]);
  assert.deepEqual(take(), []);
  found.replace([...HOST, veth('veth1', 12)]);
  assert.deepEqual(take(), ['10.0.65.2 gone']);
});

test('a hundred thousand MACs of one container are not kept', () => {
  const { found, changed } = locals(veth('veth1', 11));
  for (let n = 0; n < 100_000; n++) {
    const bytes = n.toString(16).padStart(6, '0').match(/../g) ?? [];
    const address = parseMac(`02:00:00:${bytes.join(':')}`) as Mac;
    changed({ kind: 'bridge-fdb', mac: address, bridge: 'docker0', device: 'veth1', static: false });
  }
  changed(neighbour('10.0.65.2', 2));
  changed(entry(2, 'veth1'));
  assert.equal(found.locals.get(ipv4(0x0a004102))?.device, 'veth1');
});
