import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { formatIp, ipv4, parseIp } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { systemClock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { until } from '#src/sys/until.ts';
import { TOMBSTONE } from '#src/tenant/tombstone.ts';
import { type DriverHost, driverHost, id } from '../../test/support/driver-host.ts';

/*
 * What goes wrong between Docker's calls: two hosts with the network blue, 10.5.0.0/24, over one registry, as in
 * tenants.test.ts.
 */
/** Files of a group are loaded at once: no time begins to run then. */
const within = new AbortController().signal;

/** A disk that may be full. */
class Disk extends Map<string, string> {
  isFull = false;

  override set(path: string, text: string): this {
    if (this.isFull) throw new Error('ENOSPC: no space left on device');
    return super.set(path, text);
  }
}

async function hosts(t: TestContext) {
  const folders = new MemoryRecordFolders({ clock: systemClock });
  const disk = new Disk();
  const one = await driverHost(t, { n: 1, folders, files: disk });
  const two = await driverHost(t, { n: 2, folders });
  await one.createNetwork({ subnet: '10.5.0.0/24', vni: '70001' });
  await two.createNetwork();
  return { folders, disk, one, two, records: folders.folder('tenants/addresses/blue') };
}

const POOL = 'blue/v4/10.5.0.0-24';
const NETWORK = id(0xb001);
const address = (text: string) => ({ family: 4, address: parseIp(text), length: 24 }) as never;
const endpoint = (n: number, text: string, mac?: Mac) => ({
  networkId: NETWORK,
  endpointId: id(n),
  addresses: [address(text)],
  options: {},
  ...(mac && { mac }),
});
const request = async ({ addresses }: DriverHost, text?: string): Promise<string> => {
  const wanted = text === undefined ? undefined : parseIp(text);
  const given = { poolId: POOL, isGateway: false, ...(wanted !== undefined && { address: wanted }) };
  return formatIp((await addresses.requestAddress(given)).address);
};
const stateOf = async (records: ReturnType<MemoryRecordFolders['folder']>, name: string) => {
  const record = await records.read(name, within);
  return record && (JSON.parse(record.value) as { state: string; host: string });
};
const becomes = (
  records: ReturnType<MemoryRecordFolders['folder']>,
  name: string,
  state: string,
): Promise<unknown> =>
  until(async () => (await stateOf(records, name))?.state === state, { what: `${name} ${state}` });
const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);

test('an endpoint whose address the book has lost holds it all the same', async (t) => {
  const { one, records } = await hosts(t);
  assert.equal(await request(one, '10.5.0.11'), '10.5.0.11');
  await one.book.change((state) => ({ ...state, addresses: {} }));
  await one.networks.createEndpoint(endpoint(1, '10.5.0.11'));
  await one.networks.join({ networkId: NETWORK, endpointId: id(1), sandbox: '/run/netns/c1' });
  await becomes(records, '10.5.0.11', 'published');
});

test('one whose address was never asked for gets it, unless another host has it', async (t) => {
  const { one, two, records } = await hosts(t);
  await two.run(2, '10.5.0.12');
  await becomes(records, '10.5.0.12', 'published');
  await one.networks.createEndpoint(endpoint(1, '10.5.0.11'));
  await becomes(records, '10.5.0.11', 'reserved');
  await assert.rejects(one.networks.createEndpoint(endpoint(3, '10.5.0.12')), /is held on host host2/);
  assert.deepEqual(Object.keys(one.book.state.endpoints), [id(1)]);
});

test('one whose address is being given back gets it again', async (t) => {
  const { one, records } = await hosts(t);
  await request(one, '10.5.0.11');
  await one.present.use('blue').release(ipv4(0x0a05000b));
  await one.networks.createEndpoint(endpoint(1, '10.5.0.11'));
  await one.networks.join({ networkId: NETWORK, endpointId: id(1), sandbox: '/run/netns/c1' });
  await becomes(records, '10.5.0.11', 'published');
  assert.equal(one.book.state.addresses.blue?.['10.5.0.11']?.isReleasing, false);
});

test('a container that is started again at once gets the address that it has just given back', async (t) => {
  const { one, records } = await hosts(t);
  await one.run(1, '10.5.0.11');
  const replace = records.replace.bind(records);
  records.replace = async (...write) => {
    for (let turn = 0; turn < 20; turn++) await nextTurn();
    return replace(...write);
  };
  for (let n = 2; n < 6; n++) {
    await one.remove(n - 1, '10.5.0.11');
    assert.equal(await one.run(n, '10.5.0.11'), '10.5.0.11');
  }
});

test('with a full disk containers go, and their addresses are given back', async (t) => {
  const { one, disk, records } = await hosts(t);
  await one.run(1, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'published');
  disk.isFull = true;
  await one.remove(1, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'released');
  await until(() => !one.kernel.text.some((line) => /\bp0000000100000\b/.test(line)), {
    what: 'end of port',
  });
  await assert.rejects(one.run(2, '10.5.0.12'), { code: 'docker-state' });
  disk.isFull = false;
  await one.run(3, '10.5.0.13');
});

test('Docker’s second network of a tenant is refused, also when both are made at once', async (t) => {
  const { one } = await hosts(t);
  await one.networks.deleteNetwork(NETWORK);
  const create = (n: number) =>
    one.networks.createNetwork({
      networkId: id(n),
      options: { 'weft.network': 'blue' },
      internal: false,
      pools: [{ addressSpace: 'weft', pool: address('10.5.0.0'), auxiliary: {} }],
    });
  const outcomes = await Promise.allSettled([create(1), create(2)]);
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  assert.equal(Object.keys(one.book.state.networks).length, 1);
});

test('a network that a user removes here while the registry has lost it stays away', async (t) => {
  const { one, folders } = await hosts(t);
  const networks = folders.folder('tenants/networks');
  const record = await networks.read('blue', within);
  assert.ok(record);
  await networks.remove(record, within);
  await until(() => one.directory.get('blue') === undefined, { what: 'loss' });
  await one.networks.deleteNetwork(NETWORK);
  assert.deepEqual(one.book.state.removed, ['blue']);
});

test('a MAC that a user gave goes with the address, unless another container has got it', async (t) => {
  const { one, records } = await hosts(t);
  const given = mac('02:00:00:00:00:07');
  await request(one, '10.5.0.11');
  await one.networks.createEndpoint(endpoint(1, '10.5.0.11', given));
  await one.remove(1, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'released');
  await request(one, '10.5.0.11');
  assert.deepEqual(await one.networks.createEndpoint(endpoint(2, '10.5.0.11')), { mac: given });
  await one.remove(2, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'released');

  await request(one, '10.5.0.12');
  await one.networks.createEndpoint(endpoint(3, '10.5.0.12', given));
  await until(() => one.present.get('blue')?.addresses.get(ipv4(0x0a05000c))?.mac === given, { what: 'MAC' });
  await request(one, '10.5.0.11');
  assert.deepEqual(await one.networks.createEndpoint(endpoint(4, '10.5.0.11')), { mac: '02:42:0a:05:00:0b' });
});

test('a network that was removed and made again with other values is another one', async (t) => {
  const { one, folders, records } = await hosts(t);
  await one.run(1, '10.5.0.11');
  await one.remove(1, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'released');
  await one.networks.deleteNetwork(NETWORK);
  const networks = folders.folder('tenants/networks');
  const record = await networks.read('blue', within);
  assert.ok(record);
  await networks.replace(record, TOMBSTONE, undefined, within);
  const released = await records.read('10.5.0.11', within);
  assert.ok(released);
  await records.remove(released, within);
  await until(() => one.directory.isRemoved('blue'), { what: 'removal' });
  await one.createNetwork({ subnet: '10.6.0.0/24', vni: '70002' });
  assert.match(await one.run(2), /^10\.6\.0\./);
  await until(() => one.kernel.text.some((line) => line.startsWith('link vx-70002')), { what: 'new device' });
  await until(() => !one.kernel.text.some((line) => line.startsWith('link vx-70001')), {
    what: 'old device',
  });
});

test('a record of ours that can’t be read is an error, and not a loop', async (t) => {
  const { one, records } = await hosts(t);
  const tenant = one.present.use('blue');
  await tenant.addresses.isListed;
  let reads = 0;
  const read = records.read.bind(records);
  records.read = (name, signal) => {
    reads++;
    return read(name, signal);
  };
  await records.create('10.5.0.11', '{"state":"of a later version"}', undefined, within);
  await until(() => tenant.addresses.get(ipv4(0x0a05000b)) === undefined, { what: 'record' });
  const wanted = { state: 'published', names: [], keep: false } as const;
  await assert.rejects(tenant.addresses.settle(ipv4(0x0a05000b), wanted, within), {
    code: 'address-unreadable',
  });
  assert.ok(reads <= 1);
});

test('addresses are given back of a network that was not known at the start', async (t) => {
  const { one, folders, records } = await hosts(t);
  await one.run(1, '10.5.0.11');
  await becomes(records, '10.5.0.11', 'published');
  await one.stop();
  const book = JSON.stringify({
    addresses: { blue: { '10.5.0.11': { since: 0, isMoved: false, isReleasing: true } } },
  });
  const again = await driverHost(t, { n: 1, folders, files: new Map([['book', book]]) });
  again.present.openBooked();
  await becomes(records, '10.5.0.11', 'released');
});
