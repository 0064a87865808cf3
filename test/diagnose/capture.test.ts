import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { WEFT } from '../support/flanneld.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { waitForAnswer } from '../support/pings.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 *     store .190     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 *
 * `weft capture` runs on h1 and h2 while c on h1 pings c on h2. IPv6 solicits routers on every device
 * when it likes, so a test that counts frames filters them.
 */
const skip = cannotRun('ping', 'tcpdump');

let h1: Node;
let h2: Node;
wholeFile(skip, async (owner) => {
  [h1, h2] = pairOf(await testNetwork(owner, { api: 3, store: 'embedded', flags: ['--probes=false'] }));
  // The first packet waits for carriers and for ARP.
  await waitForAnswer(h1.container, h2.container.address);
});

let started = 0;
/** `weft capture` on a host, once it listens. */
async function capture(host: Host, ...words: string[]): Promise<Daemon> {
  const daemon = await host.start(`weft-capture-${++started}`, [WEFT, 'capture', ...words]);
  // With the daemon stopped its answer is waited for first.
  await daemon.waitForLog(/^capturing on .*$/m, 30_000);
  return daemon;
}

/** Pings once a call, from h1's container to h2's. */
const ping = (...words: string[]) =>
  h1.container.must(['ping', '-n', '-c1', '-W2', ...words, h2.container.address]);

/** The lines of frames. */
const lines = async (daemon: Daemon): Promise<string[]> =>
  (await daemon.log()).split('\n').filter((line) => /^\d\d:|^\{/.test(line));

/** Runs until its frames are there, which `--count` says, and ends by itself: without them after a while. */
async function captured(host: Host, words: string[], traffic = ping): Promise<string[]> {
  const daemon = await capture(host, '--seconds=20', ...words);
  await traffic();
  assert.equal(await daemon.exited(), 0, await daemon.log());
  return lines(daemon);
}

const TIME = '\\d\\d:\\d\\d:\\d\\d\\.\\d{6}';
const MAC = '([0-9a-f]{2}:){5}[0-9a-f]{2}';

test('an echo request and its reply, on the wire and inside', { skip }, async () => {
  const found = await captured(h1.host, ['--count=4', '--container', h2.container.address]);
  const [a, b] = [h1, h2].map(({ container }) => container.address.replaceAll('.', '\\.'));
  const [from, to] = [h1, h2].map(({ host }) => host.address.replaceAll('.', '\\.'));
  const request = `${a} > ${b} ICMP echo request, id \\d+, seq 1, 64 bytes$`;
  const reply = `${b} > ${a} ICMP echo reply, id \\d+, seq 1, 64 bytes$`;
  const wanted = [
    `^${TIME} eth0 out ${from} > ${to} VNI 1  ${MAC} > ${MAC}  ${request}`,
    `^${TIME} flannel.1 out ${MAC} > ${MAC}  ${request}`,
    `^${TIME} eth0 in  ${to} > ${from} VNI 1  ${MAC} > ${MAC}  ${reply}`,
    `^${TIME} flannel.1 in  ${MAC} > ${MAC}  ${reply}`,
  ];
  for (const line of wanted)
    assert.ok(
      found.some((it) => new RegExp(line).test(it)),
      `no ${line} in\n${found.join('\n')}`,
    );
});

test('each filter shows what it names, and nothing else', { skip }, async () => {
  const subnet = `${h2.subnet}.0/24`;
  const shown: readonly string[][] = [
    ['--peer', subnet],
    ['--peer', `${h2.subnet}.0-24`],
    ['--peer', h2.host.address],
    ['--vni=1'],
    ['--container', h1.container.address, '--vni=1'],
  ];
  const hidden: readonly string[][] = [
    ['--peer', '10.99.0.0/24'],
    ['--peer', '172.16.70.199'],
    ['--vni=2'],
    ['--container', '10.0.99.9'],
    ['--container', h1.container.address, '--vni=2'],
  ];
  const start = (words: string[]) => capture(h1.host, '--device=eth0', ...words);
  const yes = await Promise.all(shown.map((words) => start([...words, '--count=2'])));
  const no = await Promise.all(hidden.map(start));
  await ping();
  for (const daemon of yes) assert.equal(await daemon.exited(), 0, await daemon.log());
  for (const daemon of no) {
    daemon.kill('SIGINT');
    assert.equal(await daemon.exited(), 0);
    assert.deepEqual(await lines(daemon), []);
    assert.match(await daemon.log(), /^0 frames of [1-9]\d* seen$/m);
  }
});

test('a packet in fragments', { skip }, async () => {
  const words = ['--count=2', '--device=eth0', '--container', h1.container.address];
  const found = await captured(h1.host, words, () => ping('-M', 'dont', '-s', '1600'));
  assert.match(found[0] ?? '', / ICMP echo request, .* \[fragment \d+ at 0, more follow\]$/);
  assert.match(found[1] ?? '', / > \S+ ICMP, \d+ bytes \[fragment \d+ at 14\d\d, the last\]$/);
});

test('inside only, as objects', { skip }, async () => {
  const words = ['--inner', '--json', '--count=2', '--container', h1.container.address];
  const found = await captured(h1.host, words);
  const [request] = found.map((line) => JSON.parse(line));
  assert.deepEqual(
    [request.device, request.vni, request.protocol, request.message, request.source, request.outer],
    ['flannel.1', 1, 'ICMP', 'echo request', h1.container.address, undefined],
  );
  assert.match(request.time, /^20\d\d-\d\d-\d\dT.*\.\d{9}Z$/);
});

test('a file of frames is whole after Ctrl-C, is read again, and filtered', { skip }, async () => {
  const path = '/run/a.pcapng';
  const daemon = await capture(h2.host, '--write', path);
  await ping();
  // The file is written now and then: its end may be half a frame.
  const readable = async (): Promise<string> =>
    (await h2.host.run([WEFT, 'capture', '--read', path, '--vni=1'])).stdout;
  await until(async () => / eth0 out .* ICMP echo reply/.test(await readable()), {
    what: 'reply in the file',
  });
  daemon.kill('SIGINT');
  assert.equal(await daemon.exited(), 0, await daemon.log());
  const read = await h2.host.run([WEFT, 'capture', '--read', path, '--vni=1']);
  assert.equal(read.code, 0, read.stderr);
  assert.match(read.stdout, / eth0 in {2}\S+ > \S+ VNI 1 .* ICMP echo request/);
  assert.match(read.stdout, / eth0 out \S+ > \S+ VNI 1 .* ICMP echo reply/);
  assert.match(read.stderr, /^2 frames of \d+ seen$/m);
  // Of tcpdump, too: a classic file.
  await h2.host.must(['tcpdump', '-r', path, '-w', '/run/b.pcap', '-n']);
  const classic = await h2.host.run([WEFT, 'capture', '--read=/run/b.pcap', '--vni=1']);
  assert.equal(classic.stdout.split('\n').length, 3, classic.stderr);
});

test('tshark reads the file: devices, nanoseconds, comment, VXLAN', {
  skip: skip || cannotRun('tshark'),
}, async () => {
  const path = '/run/c.pcapng';
  await captured(h1.host, ['--write', path, '--count=4', '--peer', h2.host.address]);
  const tshark = (...words: string[]) =>
    h1.host.must(['tshark', '-d', 'udp.port==8472,vxlan', '-r', path, ...words]);
  const fields = [
    'frame.interface_name',
    'vxlan.vni',
    'icmp.type',
    'frame.time_epoch',
    'frame.packet_flags_direction',
  ];
  const out = await tshark('-T', 'fields', ...fields.flatMap((field) => ['-e', field]));
  const rows = out
    .trim()
    .split('\n')
    .map((line) => line.split('\t'));
  const outside = rows.filter(([device]) => device === 'eth0');
  assert.deepEqual(
    outside.map(([, vni, type, , way]) => [vni, type, Number(way)]),
    [
      ['1', '8', 2],
      ['1', '0', 1],
    ],
  );
  assert.match(outside[0]?.[3] ?? '', /^\d+\.\d{9}$/);
  assert.deepEqual([...new Set(rows.map(([device]) => device))].sort(), ['eth0', 'flannel.1']);
  const { stdout } = await h1.host.run(['capinfos', path]);
  assert.match(stdout, /Capture comment: +weft \d+\.\d+\.\d+ capture .*--write/);
  assert.match(stdout, /Capture application: +weft \d/);
  assert.match(stdout, /Strict time order: +True/);
});

test('a closed pipe, a full disk, a device that goes away: one line each', { skip }, async () => {
  let shown: string | undefined;
  const piped = h1.host
    .run(['sh', '-c', `${WEFT} capture --device=eth0 --vni=1 2>/dev/null | head -n1`])
    .then(({ stdout }) => {
      shown = stdout;
    });
  await until(
    async () => {
      await ping();
      return shown;
    },
    { what: 'end of the pipe' },
  );
  await piped;
  assert.match(shown ?? '', /VNI 1/);

  await h1.host.must(['sh', '-c', 'mkdir -p /run/small && mount -t tmpfs -o size=16k tmpfs /run/small']);
  const full = await capture(h1.host, '--device=eth0', '--write=/run/small/d.pcapng');
  await h1.container.must(['ping', '-n', '-c20', '-i0.01', '-s', '1000', h2.container.address]);
  assert.equal(await full.exited(), 1);
  const complaint = /^weft capture: could not write to \/run\/small\/d\.pcapng: ENOSPC.*; make room; /m;
  assert.match(await full.log(), complaint);
  const read = await h1.host.run([WEFT, 'capture', '--read=/run/small/d.pcapng']);
  assert.equal(read.code, 0, read.stderr);
  assert.match(read.stdout, /VNI 1/);

  await h1.host.must(['ip', 'link', 'add', 'd0', 'type', 'veth', 'peer', 'name', 'd1']);
  await h1.host.must(['ip', 'link', 'set', 'd0', 'up']);
  const orphan = await capture(h1.host, '--device=d0');
  await h1.host.must(['ip', 'link', 'del', 'd0']);
  assert.equal(await orphan.exited(), 0);
  assert.match(await orphan.log(), /^weft capture: d0 is gone$/m);
});

test('with the daemon down, what it wrote down says where to capture', { skip }, async (t) => {
  const daemon = await h2.host.daemon('flanneld');
  daemon?.kill('SIGSTOP');
  t.after(() => daemon?.kill('SIGCONT'));
  const found = await captured(h2.host, ['--count=2', '--vni=1']);
  assert.match(found.join('\n'), / eth0 in .* VNI 1 .* ICMP echo request/);
});

test('what can’t be is one line', { skip }, async () => {
  const run = (...words: string[]) => h1.host.run([WEFT, 'capture', ...words]);
  const cases: readonly (readonly [words: string[], code: number, RegExp])[] = [
    [['--device=nosuch0'], 1, /cannot capture on nosuch0: there is no such device/],
    [['--read=/nosuch'], 1, /cannot read \/nosuch: there is no such file/],
    [['--read=/etc/passwd'], 1, /cannot read \/etc\/passwd to its end: it is neither pcapng nor pcap/],
    [['--read=/run/x', '--write=/run/x'], 1, /can't be read and written at once/],
    [['--vni=x'], 1, /--vni x is no number from 0 to 16777215/],
    [['--peer=nobody'], 1, /--peer nobody is no lease, subnet or address/],
    [['--network=nosuch'], 1, /no network nosuch is known on this host/],
    [['--container=web'], 1, /could not look at Docker's container web/],
    [['web'], 1, /"web" is no flag; --container web shows one container/],
    [['--write=/nosuch/x', '--count=1', '--read=/etc/passwd'], 1, /neither pcapng nor pcap/],
  ];
  for (const [words, code, message] of cases) {
    const result = await run(...words);
    assert.match(result.stderr, new RegExp(`^weft capture: .*${message.source}`), words.join(' '));
    assert.deepEqual([result.code, result.stderr.trim().split('\n').length], [code, 1], words.join(' '));
  }
});
