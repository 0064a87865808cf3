import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EndKeeper } from '#src/driver/end-keeper.ts';
import { type BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import type { LocalEndpoint } from '#src/driver/segment.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatPrefix, parseIp, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { id } from '../../test/support/driver-host.ts';

const [v4, gateway4, v6, gateway6] = [
  parsePrefix4('10.5.0.0/24'),
  parseIp('10.5.0.1'),
  parsePrefix6('fd05::/64'),
  parseIp('fd05::1'),
];
const BLUE = {
  name: 'blue',
  vni: 70_001,
  internal: false,
  subnets: {
    v4: { prefix: v4, gateway: gateway4, auxiliary: {} },
    v6: { prefix: v6, gateway: gateway6, auxiliary: {} },
  },
} as Tenant;
const SANDBOX = '/var/run/docker/netns/0123';
const RUNNING: BookedEndpoint = {
  networkId: id(9),
  tenant: 'blue',
  mac: '02:42:0a:05:00:0b',
  addresses: ['10.5.0.11', 'fd05::b'],
  sandbox: SANDBOX,
  isActive: true,
  container: id(7),
  names: ['web'],
  since: 0,
};

async function setUp(endpoint: BookedEndpoint) {
  const files = { read: async () => undefined, writeAtomically: async () => {}, append: async () => {} };
  const book = await EndpointBook.open({ files: files as never }, 'book');
  await book.change((state) => ({ ...state, endpoints: { [id(1)]: endpoint } }));
  const log: string[] = [];
  const plugged: LocalEndpoint[] = [];
  const calls: string[] = [];
  const host = {
    isThere: true,
    name: undefined as string | undefined,
    names: ['lo'],
    isBare: false,
    error: undefined as unknown,
  };
  const note = (line: string): void => void log.push(line);
  const keeper = new EndKeeper(
    {
      book,
      log: { ...silentLogger, info: note, warning: note },
      ends: {
        isThere: () => host.isThere,
        nameOf: async ({ sandbox }) => {
          calls.push(`name in ${sandbox}`);
          return host.name;
        },
        namesIn: async () => host.names,
        mend: async (sandbox, device, prefixes) => {
          calls.push(`mend ${device} in ${sandbox}: ${prefixes.map(formatPrefix).join(' ')}`);
          if (host.error !== undefined) throw host.error;
          return host.isBare;
        },
      },
    },
    { tenant: BLUE, plug: async (it) => void plugged.push(it) },
  );
  const look = async (): Promise<void> => {
    keeper.look(id(1));
    await keeper.idle();
  };
  return { book, log, plugged, calls, host, look };
}

test('until its process runs, a container’s device is Docker’s', async () => {
  const { container: _, ...joined } = RUNNING;
  const { calls, look } = await setUp(joined);
  await look();
  const { sandbox: __, ...left } = RUNNING;
  const other = await setUp(left);
  await other.look();
  assert.deepEqual([...calls, ...other.calls], []);
});

test('the name that Docker gave is learned once, and the port is to be made with it', async () => {
  const { book, plugged, calls, host, look } = await setUp(RUNNING);
  await look();
  assert.equal(book.state.endpoints[id(1)]?.device, undefined, 'it is not there yet');
  host.name = 'eth1';
  await look();
  assert.equal(book.state.endpoints[id(1)]?.device, 'eth1');
  assert.deepEqual(
    plugged.map(({ device, sandbox }) => [device, sandbox]),
    [['eth1', SANDBOX]],
  );
  await look();
  assert.equal(calls.filter((call) => call.startsWith('name')).length, 2);
});

test('a port that was made again before Docker’s name was known is made with a name that is free', async () => {
  const { book, plugged, host, look } = await setUp(RUNNING);
  const other = { ...RUNNING, addresses: ['10.6.0.11'], tenant: 'red', device: 'eth1' };
  await book.changeEndpoint(id(2), () => other);
  await book.changeEndpoint(id(3), () => ({ ...other, sandbox: `${SANDBOX}4`, device: 'eth2' }));
  host.name = 'w0000000100000';
  host.names = ['lo', 'eth0', 'eth3', host.name];
  await look();
  assert.equal(book.state.endpoints[id(1)]?.device, 'eth2');
  assert.deepEqual(
    plugged.map(({ device, isGone = false }) => [device, isGone]),
    [
      ['eth2', true],
      ['eth2', false],
    ],
  );
});

test('one of an endpoint that goes meanwhile is not made', async () => {
  const { book, plugged, host, look } = await setUp(RUNNING);
  host.name = 'w0000000100000';
  const looked = look();
  await book.changeEndpoint(id(1), () => undefined);
  await looked;
  assert.deepEqual([plugged, book.state.endpoints], [[], {}]);
});

test('a bare device gets the endpoint’s addresses with the length of their subnets', async () => {
  const { calls, host, log, look } = await setUp({ ...RUNNING, device: 'eth0' });
  await look();
  assert.deepEqual(log, []);
  host.isBare = true;
  await look();
  assert.equal(calls[0], `mend eth0 in ${SANDBOX}: 10.5.0.11/24 fd05::b/64`);
  assert.deepEqual(log, [
    'Device eth0 of container web in network blue had been removed, and is there again',
  ]);
});

test('what the kernel refuses is a line in the log', async () => {
  const { host, log, look } = await setUp({ ...RUNNING, device: 'eth0' });
  host.error = new WeftError('container-end', 'could not run it');
  await look();
  assert.deepEqual(log, ['could not run it']);
});

test('a container that is gone has no port', async () => {
  const { host, plugged, log, look } = await setUp({ ...RUNNING, device: 'eth0' });
  host.isThere = false;
  await look();
  assert.deepEqual(
    plugged.map(({ isGone }) => isGone),
    [true],
  );
  assert.deepEqual(log, [
    'Container web of network blue is gone: its port is left out until Docker says more',
  ]);
});
