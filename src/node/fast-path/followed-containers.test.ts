import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIpv4, parsePrefix4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { FollowedContainers } from '#src/node/fast-path/followed-containers.ts';
import type { KernelObject } from '#src/state/object.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const ip = (text: string) => parseIpv4(text) ?? assert.fail();
const subnet = parsePrefix4('10.0.65.0/24') ?? assert.fail();
const BRIDGE: readonly KernelObject[] = [
  { kind: 'link', name: 'docker0', index: 3, type: 'bridge', up: true },
  { kind: 'address', prefix: prefix4(ip('10.0.65.1'), 24), device: 'docker0' },
];

function container(name: string, index: number, address: string): KernelObject[] {
  const mac = parseMac(`02:42:00:00:00:${index}`) as Mac;
  return [
    { kind: 'link', name, index, type: 'veth', master: 'docker0', peerNamespaceId: 0, up: true },
    { kind: 'neighbour', ip: ip(address), mac, device: 'docker0', permanent: false },
    { kind: 'bridge-fdb', mac, bridge: 'docker0', device: name, static: false },
  ];
}

/** A kernel whose lists are answered one by one, by hand. */
function followed() {
  const clock = new FakeClock();
  const lists: ((objects: readonly KernelObject[]) => void)[] = [];
  const withdrawn: number[] = [];
  const came: number[] = [];
  const containers = new FollowedContainers(
    {
      kernel: {
        dump: () => new Promise((resolve) => lists.push((objects) => resolve([...objects]))),
      },
      clock,
      log: silentLogger,
    },
    {
      withdrawn: (address) => withdrawn.push(address),
      came: (ifindex) => came.push(ifindex),
      waiting: () => {},
      replaced: () => {},
    },
  );
  return { clock, lists, withdrawn, came, containers };
}

test('a container that comes while the others are read is not missed', async () => {
  const { clock, lists, containers } = followed();
  const before = [...BRIDGE, ...container('veth1', 11, '10.0.65.2')];
  const after = [...before, ...container('veth2', 12, '10.0.65.3')];
  const begun = containers.begin(subnet);
  for (const object of after.slice(before.length)) containers.take({ type: 'changed', object });
  lists[0]?.(before);
  await clock.advance(1_000);
  lists[1]?.(after);
  assert.equal(await begun, true);
  assert.deepEqual([...containers.admitted.keys()], [ip('10.0.65.2'), ip('10.0.65.3')]);
  assert.equal(lists.length, 2);
  assert.equal(await containers.begin(subnet), false);
});

test('with another subnet all of them are withdrawn, and those of the other are read', async () => {
  const { lists, withdrawn, containers } = followed();
  const begun = containers.begin(subnet);
  lists[0]?.([...BRIDGE, ...container('veth1', 11, '10.0.65.2')]);
  await begun;
  containers.forget();
  assert.deepEqual(withdrawn, [ip('10.0.65.2')]);
  assert.equal(containers.admitted.size, 0);
  const again = containers.begin(parsePrefix4('10.0.66.0/24') ?? assert.fail());
  lists[1]?.(BRIDGE);
  assert.equal(await again, true);
  assert.equal(containers.admitted.size, 0);
});

test('devices that come are said at once, and of a hundred a second some', async () => {
  const { clock, lists, came, containers } = followed();
  const begun = containers.begin(subnet);
  lists[0]?.([...BRIDGE, ...container('veth1', 11, '10.0.65.2')]);
  await begun;
  const come = (index: number) => {
    const [device] = container(`veth${index}`, index, '10.0.65.3');
    if (device !== undefined) containers.take({ type: 'changed', object: device });
  };
  come(11);
  assert.deepEqual(came, [], 'it was there');
  come(12);
  assert.deepEqual(came, [12]);
  for (let n = 0; n < 1_000; n++) {
    await clock.advance(10);
    come(100 + n);
  }
  assert.ok(came.length > 100 && came.length <= 121, `${came.length} in ten seconds`);
});
