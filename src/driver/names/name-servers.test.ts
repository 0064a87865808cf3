import assert from 'node:assert/strict';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { NameServers } from '#src/driver/names/name-servers.ts';
import { NameTable } from '#src/driver/names/name-table.ts';
import { formatIp, parseIp, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import type { DatagramPeer, DevicePlace, DeviceSockets } from '#src/sys/device-sockets.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import type { Tenant } from '#src/tenant/tenant.ts';
import { question, seen } from '../../../test/support/dns.ts';

const CALLER = { address: '10.5.0.11', port: 40_000 };

/** Sockets of bridges that are there or not. */
class MemorySockets implements DeviceSockets {
  /** By device: why it can't be opened. Not named: it is there. */
  readonly absent = new Map<string, string>();
  readonly open = new Map<string, Opened>();
  made = 0;

  async datagrams(place: DevicePlace, onDatagram: Opened['onDatagram']) {
    const opened: Opened = { onDatagram, onConnection: () => {}, sent: [], deaf: [], attached: true };
    this.#add(`udp ${keyOf(place)}`, opened, place);
    return {
      ...this.#socket(`udp ${keyOf(place)}`, opened),
      send: (bytes: Uint8Array, to: DatagramPeer) => void opened.sent.push([Buffer.from(bytes), to]),
      deafen: (deaf: boolean) => void opened.deaf.push(deaf),
    };
  }

  async connections(place: DevicePlace, onConnection: Opened['onConnection']) {
    const opened: Opened = { onDatagram: () => {}, onConnection, sent: [], deaf: [], attached: true };
    this.#add(`tcp ${keyOf(place)}`, opened, place);
    return this.#socket(`tcp ${keyOf(place)}`, opened);
  }

  opened(key: string): Opened {
    const found = this.open.get(key);
    assert.ok(found, key);
    return found;
  }

  #add(key: string, opened: Opened, { device }: DevicePlace): void {
    const code = this.absent.get(device);
    if (code !== undefined) throw Object.assign(new Error(`bind: ${code}`), { code });
    assert.ok(!this.open.has(key), `${key} is open already`);
    this.open.set(key, opened);
    this.made++;
  }

  #socket(key: string, opened: Opened) {
    return {
      isAttached: () => opened.attached,
      close: async () => void this.open.delete(key),
    };
  }
}

interface Opened {
  readonly onDatagram: (bytes: Buffer, from: DatagramPeer) => void;
  readonly onConnection: (stream: Duplex) => void;
  readonly sent: [Buffer, DatagramPeer][];
  readonly deaf: boolean[];
  attached: boolean;
}

const keyOf = ({ device, address, port }: DevicePlace): string => `${formatIp(address)}%${device}:${port}`;
const UDP = 'udp 10.5.0.1%br-7:53';
const TCP = 'tcp 10.5.0.1%br-7:53';

function blue(): Tenant {
  const [v4, v6] = [parsePrefix4('10.5.0.1/24'), parsePrefix6('fd05::1/64')];
  assert.ok(v4 !== undefined && v6 !== undefined);
  const rest = { auxiliary: {} };
  return {
    name: 'blue',
    vni: 7,
    internal: true,
    subnets: {
      v4: { prefix: v4, gateway: v4.address, ...rest },
      v6: { prefix: v6, gateway: v6.address, ...rest },
    },
  };
}

async function served(sockets = new MemorySockets(), log: Logger = silentLogger) {
  const clock = new FakeClock();
  const names = new NameTable();
  const [ip, vtep] = [parseIp('10.5.0.12'), parseIp('192.0.2.1')];
  assert.ok(ip !== undefined && vtep !== undefined);
  names.set({ ip, state: 'published', host: 'h', vtep, names: ['web'], keep: false, since: 0 });
  const resolvers = { ask: async () => undefined };
  const servers = new NameServers(
    { sockets, resolvers, clock, log },
    { namespace: '/run/netns/weft', deviceOf: ({ vni }) => `br-${vni}` },
  );
  const service = servers.serve(blue(), names);
  await clock.advance(0);
  return { sockets, clock, servers, service, log };
}

test('each gateway address is served by UDP and TCP on the tenant’s bridge, and none after a stop', async () => {
  const { sockets, service } = await served();
  assert.deepEqual([...sockets.open.keys()].sort(), [TCP, 'tcp fd05::1%br-7:53', UDP, 'udp fd05::1%br-7:53']);
  assert.equal(service.trouble, undefined);
  await service.stop();
  assert.equal(sockets.open.size, 0);
  await service.stop();
});

test('a bridge or address that is not there yet is looked for again, without a warning', async () => {
  for (const code of ['ENODEV', 'EADDRNOTAVAIL', 'netns']) {
    const warnings: string[] = [];
    const sockets = new MemorySockets();
    sockets.absent.set('br-7', code);
    const log = { ...silentLogger, warning: (message: string) => void warnings.push(message) };
    const { clock, service } = await served(sockets, log);
    await clock.advance(5_000);
    assert.match(service.trouble ?? '', /^names of blue can't be answered at 10\.5\.0\.1 on br-7: /);
    sockets.absent.clear();
    await clock.advance(1_000);
    assert.equal(sockets.open.size, 4);
    assert.equal(service.trouble, undefined);
    assert.deepEqual(warnings, []);
    await service.stop();
  }
});

test('a look finds a new bridge at once', async () => {
  const sockets = new MemorySockets();
  sockets.absent.set('br-7', 'ENODEV');
  const { clock, servers, service } = await served(sockets);
  sockets.absent.clear();
  servers.look();
  await clock.advance(0);
  assert.equal(sockets.open.size, 4);
  await service.stop();
});

test('another program on the port is named once', async () => {
  const warnings: string[] = [];
  const sockets = new MemorySockets();
  sockets.absent.set('br-7', 'EADDRINUSE');
  const log = { ...silentLogger, warning: (message: string) => void warnings.push(message) };
  const { clock, service } = await served(sockets, log);
  await clock.advance(5_000);
  assert.equal(warnings.length, 2, 'one for each address');
  await service.stop();
});

test('sockets of a bridge that was made again are opened again', async () => {
  const { sockets, clock, service } = await served();
  sockets.opened(TCP).attached = false;
  await clock.advance(1_000);
  assert.equal(sockets.made, 6, 'those of the other address stay');
  assert.equal(sockets.open.size, 4);
  assert.ok(sockets.opened(TCP).attached);
  await service.stop();
});

test('a flood is not read for a while, and is reported once', async () => {
  const warnings: string[] = [];
  const log = { ...silentLogger, warning: (message: string) => void warnings.push(message) };
  const { sockets, clock, service } = await served(new MemorySockets(), log);
  const { onDatagram, sent, deaf } = sockets.opened(UDP);
  const flood = async (): Promise<void> => {
    for (let n = 0; n < 3_000; n++) onDatagram(question('web'), CALLER);
    await nextTurn();
  };
  await flood();
  assert.equal(sent.length, 2_000);
  assert.deepEqual(deaf, [true]);
  await clock.advance(100);
  assert.deepEqual(deaf, [true, false]);
  await flood();
  assert.equal(sent.length, 2_200);
  await clock.advance(10_000);
  assert.equal(warnings.length, 1);
  await service.stop();
});

test('questions over one connection are answered one after the other, in whatever pieces they come', async () => {
  const { sockets, service } = await served();
  const written: Buffer[] = [];
  const stream = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk);
      done();
    },
  });
  sockets.opened(TCP).onConnection(stream);
  const asked = [question('web', 'A', { id: 1 }), question('db.weft', 'A', { id: 2 })];
  const bytes = Buffer.concat(asked.flatMap((message) => [Buffer.of(0, message.length), message]));
  for (const byte of bytes) stream.push(Buffer.of(byte));
  stream.push(null);
  await new Promise((resolve) => stream.once('close', resolve));
  const answers = written.map((message) => {
    assert.equal(message.readUInt16BE(0), message.length - 2);
    return seen(message.subarray(2));
  });
  assert.deepEqual(
    answers.map(({ id, code }) => [id, code]),
    [
      [1, 0],
      [2, 3],
    ],
  );
  await service.stop();
});

test('a connection that announces a message longer than any question is closed', async () => {
  const { sockets, service } = await served();
  const stream = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() });
  sockets.opened(TCP).onConnection(stream);
  stream.push(Buffer.of(0xff, 0xff));
  await new Promise((resolve) => stream.once('close', resolve));
  await service.stop();
});
