import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import * as k from '#src/kernel/constants.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { encodeRequests, type Message, messagesIn } from '#src/kernel/message.ts';
import { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import { WireguardReader } from '#src/kernel/wireguard-messages.ts';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import { type KernelObject, KINDS, type WireguardPeer } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';
import type { Netlink, NetlinkSocket } from '#src/sys/netlink-socket.ts';

const FAMILY = 33;
const DEVICE = 'flannel-wg';
const PEERS_ATTRIBUTE_FLAGS = 3;

/**
 * WireGuard with one device. What it is sent to set a device has the form of what a dump of it says, so it keeps the messages
 * and gives them back.
 */
class FakeWireguard {
  readonly peers = new Map<string, Uint8Array>();
  device: Uint8Array | undefined;
  /** Messages of each send. */
  readonly sends: number[] = [];
  /** Bytes of each send, after it. */
  readonly sent: Uint8Array[] = [];
  /** Whether this kernel has WireGuard, and the device. */
  hasFamily = true;
  hasDevice = true;
  refuse: ((message: Message) => number | undefined) | undefined;
  readonly #queue: Uint8Array[] = [];

  readonly netlink: Netlink = { open: async () => this.#socket };
  readonly #socket: NetlinkSocket = {
    port: 1,
    send: (bytes) => this.#take(bytes),
    sendAside: async (bytes) => this.#take(bytes),
    receive: () => this.#queue.shift(),
    deviceName: () => undefined,
    setMute() {},
    watch() {},
    close() {},
  };

  #take(bytes: Uint8Array): void {
    const messages = messagesIn(bytes);
    this.sends.push(messages.length);
    this.sent.push(bytes);
    for (const message of messages) this.#answer(message);
  }

  #answer(message: Message): void {
    if (message.type === k.GENL_ID_CTRL) {
      if (this.hasFamily) this.#reply(k.GENL_ID_CTRL, message, [0, 0, 0, 0, 6, 0, 1, 0, FAMILY, 0, 0, 0]);
      else this.#acknowledge(message, 2);
      return;
    }
    const command = message.view.getUint8(message.offset);
    if (command === k.WG_CMD_GET_DEVICE) {
      if (this.hasDevice) this.#dump(message);
      else this.#acknowledge(message, 19);
      return;
    }
    const errno = this.hasDevice ? this.refuse?.(message) : 19;
    if (errno === undefined) this.#set(message);
    if (errno !== undefined || message.flags & k.NLM_F_ACK) this.#acknowledge(message, errno ?? 0);
  }

  #dump(message: Message): void {
    for (const body of [this.device ?? [], ...this.peers.values()])
      if (body.length > 0) this.#reply(FAMILY, message, body);
    this.#reply(k.NLMSG_DONE, message, [0, 0, 0, 0]);
  }

  #set({ view, offset, size, ...message }: Message): void {
    const body = Uint8Array.from(new Uint8Array(view.buffer, view.byteOffset + offset, size));
    const reader = new WireguardReader();
    const copy = Uint8Array.from(body);
    reader.read({ ...message, view: new DataView(copy.buffer), offset: 0, size });
    const [peer] = reader.peers;
    if (peer === undefined) this.device = body;
    else if (isRemoval(body)) this.peers.delete(peer.publicKey);
    else this.peers.set(peer.publicKey, withoutName(body));
  }

  #acknowledge({ sequence }: Message, errno: number): void {
    const bytes = new DataView(new ArrayBuffer(20));
    bytes.setInt32(0, -errno, true);
    this.#reply(k.NLMSG_ERROR, { sequence } as Message, new Uint8Array(bytes.buffer));
  }

  #reply(type: number, { sequence }: Pick<Message, 'sequence'>, body: ArrayLike<number>): void {
    const request = {
      ...{ type, flags: 0, size: body.length },
      write: (view: DataView, offset: number) => new Uint8Array(view.buffer, offset).set(body),
    };
    this.#queue.push(encodeRequests([request], sequence));
  }
}

/** In a dump the device's own fields are in the first message only. The name is the first attribute. */
function withoutName(body: Uint8Array): Uint8Array {
  const length = new DataView(body.buffer).getUint16(4, true);
  return Uint8Array.from([...body.subarray(0, 4), ...body.subarray(4 + ((length + 3) & ~3))]);
}

/** WGPEER_A_FLAGS is the second attribute of the one peer. */
function isRemoval(body: Uint8Array): boolean {
  const view = new DataView(body.buffer);
  for (let at = 0; at + 8 <= body.length; at += 4)
    if (view.getUint16(at, true) === 8 && view.getUint16(at + 2, true) === PEERS_ATTRIBUTE_FLAGS)
      return (view.getUint32(at + 4, true) & k.WGPEER_F_REMOVE_ME) !== 0;
  return false;
}

const keyText = (n: number) => {
  const bytes = Buffer.alloc(32, 77);
  bytes.writeUInt16BE(n + 1, 20);
  return bytes.toString('base64');
};
const peer = (n: number, more: Partial<WireguardPeer> = {}): WireguardPeer => ({
  kind: 'wireguard-peer',
  device: DEVICE,
  publicKey: keyText(n),
  endpoint: { ip: parseIp('192.0.2.9') ?? assert.fail(), port: 51_820 },
  allowedIps: [parsePrefix(`10.5.${n % 256}.0/24`) ?? assert.fail()],
  keepalive: 0,
  ...more,
});
const OWN: KernelObject = {
  kind: 'wireguard-device',
  device: DEVICE,
  publicKey: '',
  privateKey: Secret.copyOf(new Uint8Array(32).fill(9)),
  listenPort: 51_820,
  fwmark: 0,
};
const replace = (object: KernelObject): Operation => ({ verb: 'replace', object });

function host(t: TestContext) {
  const fake = new FakeWireguard();
  const clock = new FakeClock();
  const kernel = new WireguardKernel({ netlink: fake.netlink, clock });
  t.after(() => kernel.close());
  return { fake, clock, kernel };
}

const eventText = (event: KernelEvent): string =>
  'object' in event ? `${event.type} ${KINDS.of(event.object).key(event.object)}` : event.type;

test('hundreds of peers go out in several sends, and no key stays in what was sent', async (t) => {
  const { fake, kernel } = host(t);
  const peers = Array.from({ length: 600 }, (_, n) =>
    peer(n, { presharedKey: Secret.copyOf(new Uint8Array(32).fill(8)) }),
  );
  const results = await kernel.apply([OWN, ...peers].map(replace));
  assert.ok(results.every(({ done }) => done));
  assert.equal(fake.peers.size, 600);
  // The question for the family, then the changes.
  assert.deepEqual(fake.sends, [1, 128, 128, 128, 128, 89]);
  for (const bytes of fake.sent.slice(1)) assert.ok(bytes.every((byte) => byte === 0));
  const found: KernelObject[] = [];
  await kernel.scan({ kinds: ['wireguard-peer'], device: DEVICE }, (object) => found.push(object));
  assert.equal(found.length, 600);
  assert.ok(found.every((object, n) => KINDS.of(object).isAsWanted(peers[n] ?? assert.fail(), object)));
});

test('a refusal is that of one peer', async (t) => {
  const { fake, kernel } = host(t);
  fake.refuse = ({ sequence }) => (sequence === 3 ? 22 : undefined);
  const results = await kernel.apply([peer(0), peer(1), peer(2)].map(replace));
  assert.deepEqual(
    results.map((result) => result.done || result.error.errno),
    [true, 'EINVAL', true],
  );
});

test('a kernel without WireGuard says so, and has nothing', async (t) => {
  const { fake, kernel } = host(t);
  fake.hasFamily = false;
  const [result] = await kernel.apply([replace(OWN)]);
  assert.deepEqual(result?.done === false && result.error, {
    errno: 'EOPNOTSUPP',
    message: 'this kernel has no WireGuard; Linux has it from 5.6 on',
  });
  await kernel.scan({ kinds: ['wireguard-device', 'wireguard-peer'], device: DEVICE }, () => assert.fail());
  assert.equal(await kernel.family(), undefined);
});

test('a device that is not there has nothing, and what is put on it is refused', async (t) => {
  const { fake, kernel } = host(t);
  fake.hasDevice = false;
  await kernel.scan({ kinds: ['wireguard-peer'], device: DEVICE }, () => assert.fail());
  const [result] = await kernel.apply([replace(peer(0))]);
  assert.equal(result?.done === false && result.error.errno, 'ENODEV');
  assert.deepEqual(await kernel.reports(DEVICE), []);
});

test('a key goes with its device, and can not be removed', async (t) => {
  const { kernel } = host(t);
  const [result] = await kernel.apply([{ verb: 'remove', object: OWN }]);
  assert.equal(result?.done === false && result.error.errno, 'EOPNOTSUPP');
});

test('what another program changes is found by looking, and what nobody changes is reported once', async (t) => {
  const { fake, clock, kernel } = host(t);
  const events: string[] = [];
  const stopper = new AbortController();
  t.after(() => stopper.abort());
  await kernel.monitor((event) => events.push(eventText(event)), stopper.signal);
  await clock.advance(1_000);
  // Nothing is asked for yet, so nothing is looked at.
  assert.deepEqual(fake.sends, []);
  await kernel.apply([OWN, peer(0), peer(1)].map(replace));
  // Before the first look, and so unknown to it but for what was set.
  fake.peers.delete(keyText(1));
  await clock.advance(100);
  const key = (n: number) => `wireguard-peer ${keyText(n)} dev ${DEVICE}`;
  assert.deepEqual(events.splice(0).sort(), [
    `changed wireguard-device ${DEVICE}`,
    `changed ${key(0)}`,
    `removed ${key(1)}`,
  ]);
  await clock.advance(1_000);
  assert.deepEqual(events, []);
  const looks = fake.sends.length;
  await clock.advance(1_000);
  // One dump each 60 ms, and no second one to read what has not changed.
  assert.ok(Math.abs(fake.sends.length - looks - 16) <= 1, String(fake.sends.length - looks));

  const other = new WireguardKernel({ netlink: fake.netlink, clock });
  await other.apply([replace(peer(0, { keepalive: 25 })), replace(peer(7))]);
  await clock.advance(100);
  assert.deepEqual(events.splice(0), [`changed ${key(0)}`, `changed ${key(7)}`]);
  await other.apply([replace({ ...OWN, listenPort: 1 } as KernelObject)]);
  await clock.advance(100);
  assert.deepEqual(events.splice(0), [`changed wireguard-device ${DEVICE}`]);

  fake.hasDevice = false;
  await clock.advance(100);
  assert.deepEqual(events.splice(0).sort(), [`removed ${key(0)}`, `removed ${key(7)}`].sort());
  const gone = fake.sends.length;
  await clock.advance(1_000);
  assert.equal(fake.sends.length, gone, 'a device that went is looked at no more');
});

test('looks end with the signal', async (t) => {
  const { fake, clock, kernel } = host(t);
  const stopper = new AbortController();
  await kernel.monitor(() => {}, stopper.signal);
  await kernel.apply([replace(OWN)]);
  await clock.advance(100);
  stopper.abort();
  await clock.advance(100);
  const looks = fake.sends.length;
  await clock.advance(1_000);
  assert.equal(fake.sends.length, looks);
});
