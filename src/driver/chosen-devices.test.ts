import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DeviceChoice } from '#src/driver/choose-devices.ts';
import { ChosenDevices } from '#src/driver/chosen-devices.ts';
import { ipv4 } from '#src/lib/ip.ts';

const KEPT: DeviceChoice = { kind: 'own', reason: 'vx-7 is in use', isForNow: true };
const SHARED: DeviceChoice = { kind: 'shared', places: new Map(), held: [] };
const place = () => ({ vtep: ipv4(1), local: ipv4(1), mtu: 1_500, port: 8_473 });

function devices(choice: DeviceChoice, next: () => Promise<DeviceChoice>) {
  const wanted = new Map<string, number>();
  const changes: string[] = [];
  const chosen = new ChosenDevices(
    {
      owner: { set: (subject, objects) => void wanted.set(subject, objects.length) },
      place,
      heldPlaces: () => [],
    },
    { choice, chooseAgain: next, onChange: ({ kind }) => changes.push(kind) },
  );
  return { chosen, wanted, changes };
}

test('a host goes on with the devices that it has until none is left, and then chooses again', async () => {
  let asked = 0;
  const { chosen, wanted, changes } = devices(KEPT, async () => {
    asked++;
    return SHARED;
  });
  assert.equal(chosen.open(7).tunnel, 'vx-7');
  assert.equal(chosen.open(8).tunnel, 'vx-8');
  chosen.close(7);
  assert.equal(chosen.ready(), undefined);
  assert.equal(chosen.open(9).tunnel, 'vx-9');
  chosen.close(8);
  chosen.close(9);
  await chosen.ready();
  assert.deepEqual([asked, chosen.kind, changes], [1, 'shared', ['shared']]);
  assert.deepEqual(chosen.open(7), { bridge: 'br-all', tunnel: 'vx-all', inner: 'br-7', vlan: 1 });
  assert.deepEqual([...wanted.keys()], ['shared 1']);
  chosen.close(7);
  assert.equal(wanted.get('shared 1'), 0);
  assert.equal(chosen.ready(), undefined);
  assert.equal(asked, 1);
});

test('a segment that is opened meanwhile keeps the form, and the choice comes later', async () => {
  const { chosen, changes } = devices(KEPT, async () => SHARED);
  chosen.open(7);
  chosen.close(7);
  assert.equal(chosen.open(8).tunnel, 'vx-8');
  await chosen.ready();
  assert.deepEqual([chosen.kind, changes], ['own', []]);
  chosen.close(8);
  await chosen.ready();
  assert.equal(chosen.kind, 'shared');
});

const REFUSED: DeviceChoice = { kind: 'own', reason: 'the kernel refused a trial' };
const ANSWERS: readonly (readonly [string, () => Promise<DeviceChoice>, number])[] = [
  ['a kernel that can’t is not asked again', async () => REFUSED, 1],
  ['a device that could not be removed is waited for', async () => KEPT, 2],
  ['a kernel that did not answer is asked again', () => Promise.reject(new Error('no socket')), 2],
];
for (const [name, answer, times] of ANSWERS) {
  test(name, async () => {
    let asked = 0;
    const { chosen } = devices(KEPT, () => {
      asked++;
      return answer();
    });
    for (const vni of [7, 8]) {
      assert.equal(chosen.open(vni).tunnel, `vx-${vni}`);
      chosen.close(vni);
      await chosen.ready();
    }
    assert.equal(asked, times);
  });
}

test('a choice that the kernel made is not tried again', async () => {
  const { chosen } = devices(REFUSED, () => assert.fail('asked'));
  chosen.open(7);
  chosen.close(7);
  assert.equal(chosen.ready(), undefined);
});
