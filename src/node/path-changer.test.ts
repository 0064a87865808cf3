import assert from 'node:assert/strict';
import { test } from 'node:test';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { ChangingBackend } from '#src/backend/changing.ts';
import { ipv4, parsePrefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { readChangeMember, writeChangeMember } from '#src/network/change-member.ts';
import { withPlan } from '#src/network/change-plan.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { type ChangedNetwork, PathChanger } from '#src/node/path-changer.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

const CONFIG = withPlan('{"Network":"10.0.0.0/16","Backend":{"Type":"vxlan"}}', '{"Type":"vxlan","VNI":7}', {
  ...{ id: 'a', by: 'test', at: '' },
});
const address = { v4: ipv4(0xac104601) };
const vtep = (vni: number) => ({ VNI: vni, VtepMAC: `0e:00:00:00:00:0${vni}` });

/** A peer, which has announced the new path or not. */
function peer(hasBoth: boolean): Lease {
  const other = { backendType: 'vxlan', backendData: vtep(7) };
  const member = { id: 'a', phase: 'prepare', done: 0, of: 0, waits: {}, ...(hasBoth && { other }) } as const;
  return {
    name: '10.0.2.0-24',
    subnets: { v4: parsePrefix4('10.0.2.0/24') ?? assert.fail() },
    attributes: {
      ...{ publicIp: ipv4(0xac104602), backendType: 'vxlan', backendData: vtep(1), node: 'peer' },
      weft: { Change: writeChangeMember(member) },
    },
    revision: 1n,
    expiry: { kind: 'reservation' },
  };
}

test('a lease says the step that is in the kernel, and what is learned meanwhile is the next one', async (t) => {
  const prepared = prepareBackend(parseNetworkConfig(CONFIG), { links: [], identity: 'us', instance: '' });
  const backend = prepared.make({ name: 'eth0', mtu: 1500, address, publicIp: address });
  assert.ok(backend instanceof ChangingBackend);
  const taken: LeaseAttributes = { publicIp: address.v4, backendType: 'vxlan', node: 'us' };
  let lease = peer(false);
  let intent = { backend, underlay: { name: 'eth0' }, subnets: {} } as unknown as NetworkIntent;
  let written = taken;
  const adopt = async (whileApplied = () => {}): Promise<void> => {
    intent = await changer.inStep({ ...intent, backend } as NetworkIntent);
    whileApplied();
    written = changer.announced(intent, taken);
  };
  const again = t.mock.fn(() => adopt());
  const clock = new FakeClock();
  const network = {
    dataPath: {
      get intent() {
        return intent;
      },
      owner: { stateOf: () => ({ key: 'own', isDone: true }) },
      table: { leases: () => [lease] },
      observe: () => () => {},
    },
    written: () => encodeAttributes(written),
    inOrder: (step: () => Promise<void>) => step(),
    again,
  } as unknown as ChangedNetwork;
  const host = { files: { read: async () => '0' }, clock };
  const changer = new PathChanger({ host, log: silentLogger } as unknown as NetworkParts, network);
  // The peer's new path is announced while ours is applied.
  await adopt(() => {
    lease = peer(true);
  });
  assert.equal(readChangeMember(written)?.done, 0);
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  changer.run(stopper.signal).catch(() => {});
  await clock.advance(1_000);
  assert.equal(readChangeMember(written)?.done, 1);
  assert.deepEqual(changer.status, {
    ...{ id: 'a', phase: 'prepare', from: 'vxlan', to: 'vxlan', done: 1, of: 1, waits: [] },
  });
  const times = again.mock.callCount();
  await clock.advance(10_000);
  assert.equal(again.mock.callCount(), times, 'it rests');
});
