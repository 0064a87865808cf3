import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { VxlanBackend } from '#src/backend/vxlan.ts';
import { readVxlanOptions } from '#src/backend/vxlan-options.ts';
import { formatIp, type Ipv4, ipv4, prefix4 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseMac } from '#src/lib/mac.ts';
import { Departures } from '#src/membership/departures.ts';
import { GoObject } from '#src/network/go-json.ts';
import type { LeaseRules, RawLease } from '#src/network/lease-rules.ts';
import { LeaseTable } from '#src/network/lease-table.ts';
import { PeerInbox } from '#src/node/peer-inbox.ts';
import { Peers } from '#src/node/peers.ts';
import { formatObject, type KernelObject } from '#src/state/object.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { peerName, peerValue } from '../../test/support/node-host.ts';

const NETWORK = prefix4(ipv4(0x0a050000), 16);
const OWN = prefix4(ipv4(0x0a050100), 24);
const [HERE, THERE] = [ipv4(0xac100001), ipv4(0xac100002)];

function backendAt(address: Ipv4): VxlanBackend {
  const mac = parseMac('02:00:00:00:ff:01');
  assert.ok(mac);
  return new VxlanBackend(readVxlanOptions(new GoObject({})), {
    network: { v4: NETWORK },
    underlay: { name: 'eth0', mtu: 1500, address: { v4: address }, publicIp: { v4: address } },
    macs: { v4: mac },
  });
}

const rulesAt = (backend: VxlanBackend, address: Ipv4): LeaseRules => ({
  ranges: {
    v4: {
      network: NETWORK,
      subnetLength: 24,
      subnetMin: ipv4(0x0a050000),
      subnetMax: ipv4(0x0a05ff00),
    },
  },
  ownName: '10.5.1.0-24',
  ownSubnets: { v4: OWN },
  ownPublicIp: { v4: address },
  overlap: {
    handedOut: { v4: { first: ipv4(0x0a050000), last: ipv4(0x0a05ffff) } },
    connected: [],
    needed: [],
    allowed: false,
  },
  judge: (attributes) => backend.judge(attributes),
  identityOf: (attributes) => backend.identityOf(attributes),
});

/** The inbox of one network, and what its peers want of the kernel. */
class Rig {
  readonly clock = new FakeClock();
  readonly wanted = new Map<string, readonly KernelObject[]>();
  readonly inbox: PeerInbox;
  readonly table: LeaseTable;
  readonly #stop = new AbortController();
  readonly #running: Promise<void>;

  constructor({ slice = 3 } = {}) {
    const backend = backendAt(HERE);
    this.table = new LeaseTable(rulesAt(backend, HERE), { slice });
    const reconciler = {
      set: (name: string, objects: readonly KernelObject[]) => {
        if (objects.length === 0) this.wanted.delete(name);
        else this.wanted.set(name, objects);
      },
    };
    const parts = { clock: this.clock, log: silentLogger };
    const kernel = {
      routeTo: async () => {
        await nextTurn();
        return undefined;
      },
    };
    const peers = new Peers({ ...parts, kernel, leases: this.table, reconciler }, backend, {
      linearRoutesAbove: 1_000,
    });
    this.inbox = new PeerInbox({
      ...parts,
      table: this.table,
      peers,
      departures: new Departures(parts),
      inBulk: (say) => say(),
    });
    this.#running = this.inbox.run(this.#stop.signal);
  }

  move(to: Ipv4): Promise<void> {
    const backend = backendAt(to);
    return this.inbox.use(rulesAt(backend, to), backend);
  }

  /** Where the kernel would send a peer's packets, by the peer's name. */
  get ways(): Record<string, string> {
    const entries = Array.from(this.wanted, ([name, objects]) => {
      const fdb = objects.find(({ kind }) => kind === 'fdb');
      return [
        name,
        fdb?.kind === 'fdb' ? formatIp(fdb.destination) : objects.map(formatObject).join(),
      ] as const;
    });
    return Object.fromEntries(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }
}

const record = (n: number, revision = n, address?: string): RawLease => ({
  name: peerName(n),
  value: peerValue(n, address),
  revision: BigInt(revision),
  created: BigInt(n),
  expiry: { kind: 'reservation' },
});
const numbers = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("a peer's new address that arrives during a move of the underlay stays", async () => {
  const rig = new Rig();
  await rig.inbox.snapshot(numbers(2, 40).map((n) => record(n)));
  const moving = rig.move(THERE);
  await nextTurn();
  const changed = rig.inbox.change([
    { type: 'put', record: record(40, 999, '172.18.255.255') },
    { type: 'removed', name: peerName(39) },
  ]);
  await Promise.all([moving, changed]);
  assert.equal(rig.ways[peerName(40)], '172.18.255.255');
  await rig.clock.advance(1_500);
  assert.equal(rig.ways[peerName(39)], undefined);
  await rig.end();
});

test('a message ends the sleep until the next departure only for an earlier one', async () => {
  const rig = new Rig();
  await nextTurn();
  let sleeps = 0;
  const sleep = rig.clock.sleep.bind(rig.clock);
  rig.clock.sleep = (ms, signal) => {
    sleeps++;
    return sleep(ms, signal);
  };
  for (const n of numbers(2, 40)) await rig.inbox.change([{ type: 'put', record: record(n) }]);
  await nextTurn();
  assert.equal(sleeps, 0);
  await rig.inbox.change([{ type: 'removed', name: peerName(40) }]);
  await rig.inbox.change([{ type: 'removed', name: peerName(39) }]);
  await nextTurn();
  assert.equal(sleeps, 1);
  await rig.clock.advance(1_500);
  assert.equal(rig.table.size, 37);
  await rig.end();
});

test('a peer whose time comes in the middle of a list does not come back', async () => {
  const rig = new Rig({ slice: 1 });
  await rig.inbox.snapshot(numbers(2, 30).map((n) => record(n)));
  await rig.inbox.change([{ type: 'removed', name: peerName(30) }]);
  const listed = rig.inbox.snapshot(numbers(2, 29).map((n) => record(n)));
  await rig.clock.advance(1_500);
  await listed;
  await rig.clock.advance(31_000);
  assert.equal(rig.ways[peerName(30)], undefined);
  assert.equal(rig.table.size, 28);
  await rig.end();
});

test('peers that a list lacks stay for 30 s, and those that come back stay for good', async () => {
  const rig = new Rig();
  await rig.inbox.snapshot(numbers(2, 9).map((n) => record(n)));
  await rig.inbox.snapshot([]);
  assert.equal(Object.keys(rig.ways).length, 8);
  await rig.clock.advance(20_000);
  await rig.inbox.change([{ type: 'put', record: record(5, 100) }]);
  await rig.clock.advance(15_000);
  assert.deepEqual(Object.keys(rig.ways), [peerName(5)]);
  await rig.end();
});

test('peers of an earlier run that an emptied store lacks are known until their time comes', async () => {
  const rig = new Rig();
  await rig.inbox.snapshot(
    [record(3)],
    numbers(2, 4).map((n) => record(n, 0)),
  );
  assert.deepEqual(Object.keys(rig.ways), numbers(2, 4).map(peerName));
  await rig.clock.advance(31_000);
  assert.deepEqual(Object.keys(rig.ways), [peerName(3)]);
  await rig.end();
});

test('a lease of today is not refused for one of an earlier run', async () => {
  const rig = new Rig();
  const old: RawLease = { ...record(7, 0), name: '10.5.6.0-23' };
  await rig.inbox.snapshot([record(7)], [old]);
  assert.equal(rig.ways[peerName(7)], '172.16.1.7');
  assert.equal(rig.ways['10.5.6.0-23'], undefined);
  await rig.end();
});

type Act =
  | { readonly do: 'snapshot'; readonly present: readonly number[]; readonly addresses: readonly number[] }
  | { readonly do: 'put'; readonly n: number; readonly address: number }
  | { readonly do: 'remove'; readonly n: number }
  | { readonly do: 'move'; readonly to: boolean }
  | { readonly do: 'reroute' }
  | { readonly do: 'pass'; readonly ms: number };

const peer = fc.integer({ min: 2, max: 9 });
const address = fc.integer({ min: 1, max: 3 });
const act: fc.Arbitrary<Act> = fc.oneof(
  fc.record({
    do: fc.constant('snapshot' as const),
    present: fc.uniqueArray(peer),
    addresses: fc.array(address, { minLength: 8, maxLength: 8 }),
  }),
  fc.record({ do: fc.constant('put' as const), n: peer, address }),
  fc.record({ do: fc.constant('remove' as const), n: peer }),
  fc.record({ do: fc.constant('move' as const), to: fc.boolean() }),
  fc.record({ do: fc.constant('reroute' as const) }),
  fc.record({ do: fc.constant('pass' as const), ms: fc.constantFrom(0, 400, 1_200, 31_000) }),
);

const addressOf = (n: number, which: number): string => `172.${16 + which}.1.${n}`;

test('random interleavings of list, event, departure, move and reroute end as a naive model says', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 25 }), async (acts) => {
      const rig = new Rig({ slice: 1 });
      /** What the registry has, at the end: each peer's address. */
      const registry = new Map<string, string>();
      let revision = 100;
      const handled: Promise<void>[] = [];
      for (const one of acts) {
        switch (one.do) {
          case 'snapshot':
            registry.clear();
            for (const n of one.present) registry.set(peerName(n), addressOf(n, one.addresses[n - 2] ?? 1));
            handled.push(
              rig.inbox.snapshot(
                one.present.map((n) => record(n, revision++, addressOf(n, one.addresses[n - 2] ?? 1))),
              ),
            );
            break;
          case 'put': {
            const to = addressOf(one.n, one.address);
            registry.set(peerName(one.n), to);
            handled.push(rig.inbox.change([{ type: 'put', record: record(one.n, revision++, to) }]));
            break;
          }
          case 'remove':
            registry.delete(peerName(one.n));
            handled.push(rig.inbox.change([{ type: 'removed', name: peerName(one.n) }]));
            break;
          case 'move':
            handled.push(rig.move(one.to ? THERE : HERE));
            break;
          case 'reroute':
            handled.push(rig.inbox.reroute());
            break;
          case 'pass':
            await rig.clock.advance(one.ms);
        }
      }
      await Promise.all(handled);
      // Whatever was to go has gone by then.
      await rig.clock.advance(31_000);
      await rig.clock.advance(31_000);
      assert.deepEqual(rig.ways, Object.fromEntries([...registry].sort(([a], [b]) => (a < b ? -1 : 1))));
      await rig.end();
    }),
    { numRuns: 300 },
  );
});
