import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import {
  datagram,
  type FastHost,
  fastPathHosts,
  LONG_MS,
  runFastPath,
  scratchBpffs,
  textsIn,
  wantedOf,
  wishOf,
} from '../support/fast-path-hosts.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Packets that are no single small datagram: superpackets, whole and cut up before the wire, too long ones, and fragments. The hosts are
 * drawn in test/support/fast-path-hosts.ts; both have a fast path.
 */
const forms = await bpfForms('bridge', 'ethtool');
const MEGABYTES = 16;

async function bothFast(t: TestContext) {
  const bpffs = scratchBpffs(t);
  const [h1, h2] = fastPathHosts(t);
  const start = async (host: FastHost, peer: FastHost) => {
    host.run('sysctl -qw net.netfilter.nf_conntrack_tcp_be_liberal=1');
    const wanted = wantedOf({ ...wishOf(host, peer), freshMs: LONG_MS });
    const fast = await runFastPath(t, host, wanted, { form: 'clsact', bpffs });
    assert.deepEqual(fast.owner.status.failing, []);
    return fast;
  };
  return { h1, h2, fast: await start(h1, h2), other: await start(h2, h1) };
}

const nodeIn = (t: TestContext, { container }: FastHost, program: string) => {
  const child = spawn('ip', ['netns', 'exec', container, process.execPath, '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => child.kill('SIGKILL'));
  return child;
};

/** Everything a program says. */
const answerOf = async (child: ReturnType<typeof nodeIn>): Promise<string> =>
  (await text(child.stdout)).trim();

for (const segmented of [false, true]) {
  test(`a stream of ${MEGABYTES} MB arrives byte for byte ${segmented ? 'cut up before the wire' : 'in superpackets'}`, {
    skip: forms.get('clsact'),
  }, async (t) => {
    const { h1, h2, fast, other } = await bothFast(t);
    if (segmented) {
      const features = 'tso off gso off tx-udp_tnl-segmentation off tx-udp_tnl-csum-segmentation off gro on';
      for (const host of [h1, h2]) host.run(`ethtool -K eth0 ${features}`);
    }
    const server = nodeIn(t, h2, SERVER);
    await once(server.stdout, 'data');
    const received = answerOf(server);
    assert.equal(await answerOf(nodeIn(t, h1, CLIENT)), await received);
    const [out, back] = [fast.counts(), other.counts()];
    assert.equal(out.failed + back.failed, 0);
    // Whole superpackets have up to 64 kB; in both cases they leave as such.
    const bytes = MEGABYTES * 1e6;
    assert.ok(out.encapsulated > bytes / 65_536 / 2, `${out.encapsulated} packets went fast`);
    // On a slow way the kernel makes them of two segments (tcp_tso_autosize).
    assert.ok(out.encapsulated < bytes / 1_450 / 1.5, `${out.encapsulated} packets are no superpackets`);
    assert.ok(back.decapsulated > bytes / 65_536 / 2, `${back.decapsulated} packets came fast`);
  });
}

test('a packet that the tunnel does not take is the kernel’s, and is answered or cut up', {
  skip: forms.get('clsact') || cannotRun('ping'),
}, async (t) => {
  const { h1, h2, fast } = await bothFast(t);
  for (const device of ['docker0', 'vc']) h1.run(`ip link set ${device} mtu 1500`);
  h1.inContainer('ip link set eth0 mtu 1500');
  const [sender, receiver] = [await h1.frames(t), await h2.frames(t)];
  const send = async (said: string, flags = 0): Promise<void> => {
    sender.send(datagram(h1, h2, said, { flags }));
    await until(() => textsIn(receiver.take()).some((one) => one.startsWith(said.slice(0, 8))), {
      what: said,
    });
  };
  await send('first --');
  await send('second -');
  assert.equal(fast.counts().encapsulated, 1);
  const long = (start: string) => start.padEnd(1_460, '.');
  // Without DF the kernel makes two of it.
  await send(long('cut up -'));
  assert.deepEqual([fast.counts().tooLong, fast.counts().encapsulated], [1, 1]);
  // With DF it says so to the sender: ICMP, destination unreachable, fragmentation needed, with the MTU.
  sender.take();
  sender.send(datagram(h1, h2, long('whole --'), { flags: DF }));
  await until(
    () =>
      sender
        .take()
        .some(
          (frame) =>
            frame[23] === 1 && frame[34] === 3 && frame[35] === 4 && frame.readUInt16BE(40) === 1_450,
        ),
    { what: 'answer of the kernel' },
  );
  assert.deepEqual([fast.counts().tooLong, fast.counts().encapsulated], [2, 1]);
  await send('after --');
  assert.equal(fast.counts().encapsulated, 2);
});

test('fragments of a flow that goes fast come together at the container', {
  skip: forms.get('clsact'),
}, async (t) => {
  const { h1, h2, fast, other } = await bothFast(t);
  const listener = nodeIn(t, h2, LISTENER);
  await once(listener.stdout, 'data');
  const said = answerOf(listener);
  const sender = nodeIn(t, h1, SENDER);
  await once(sender, 'exit');
  assert.deepEqual(JSON.parse(await said), [...Array(20).fill(10), 4_000, 10]);
  assert.ok(fast.counts().encapsulated >= 20);
  assert.ok(fast.counts().unusual >= 3, 'fragments go slow');
  assert.equal(other.counts().failed, 0);
});

/** IPv4's "don't fragment". */
const DF = 0x4000;
/** Both print the hash of what went by. */
const SERVER = `const hash = require("crypto").createHash("sha256");
require("net").createServer((socket) => socket.on("data", (data) => hash.update(data))
  .on("end", () => { console.log(hash.digest("hex")); process.exit(); }))
  .listen(7001, () => console.log("ready"));`;
const CLIENT = `const { createHash, createCipheriv } = require("crypto"), hash = createHash("sha256");
const cipher = createCipheriv("aes-128-ctr", Buffer.alloc(16, 1), Buffer.alloc(16)), zeros = Buffer.alloc(1e6);
const socket = require("net").connect(7001, "10.244.2.2");
let left = ${MEGABYTES};
const next = () => {
  if (left-- === 0) { console.log(hash.digest("hex")); socket.end(); return; }
  const data = cipher.update(zeros);
  hash.update(data);
  socket.write(data, next);
};
socket.on("connect", next);`;
/** Prints the lengths of 22 datagrams. */
const LISTENER = `const s = require("dgram").createSocket("udp4"), all = [];
s.on("message", (m, from) => { all.push(m.length);
  s.send("k", from.port, from.address, () => all.length === 22 && (console.log(JSON.stringify(all)), s.close())); });
s.bind(7000, () => console.log("ready"));`;
/** Each as soon as the one before it was answered. */
const SENDER = `const s = require("dgram").createSocket("udp4"), sizes = [...Array(20).fill(10), 4000, 10];
const next = () => sizes.length ? s.send(Buffer.alloc(sizes.shift()), 7000, "10.244.2.2") : s.close();
s.on("message", next); s.bind(40001, next);`;
