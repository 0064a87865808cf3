import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { patience, until } from '#src/sys/until.ts';
import { lacks } from '../support/kernel-has.ts';
import { RotatingHost, SharedLeases } from '../support/rotating-host.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { type ScratchNamespace, scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * Three hosts renew their WireGuard keys three times while packets flow, the last time with one of them down. Each has the
 * backend, the reconciler and the rotation of flanneld over a kernel of its own network:
 *
 *     h1 192.0.2.1, 10.5.1.0 ══ echo each 5 ms, TCP ══ h2 192.0.2.2, 10.5.2.0      h3 192.0.2.3, down at last
 *         └───────────────────────── bridge br0 ────────────────────────────────────┘
 */
const skip = cannotRun('busybox', 'nstat', 'ss') || (await lacks('wireguard'));
const ECHO_SENDER = fileURLToPath(new URL('../support/echo-sender-process.ts', import.meta.url));
/** How long a silent host is waited for. An emulated machine may be silent for seconds. */
const PATIENCE_MS = 40_000;
const ROTATION_MS = 120_000;

const call = (line: string): string =>
  execFileSync('ip', line.split(' '), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
const nameOf = ({ path }: ScratchNamespace): string => path.replace('/run/netns/', '');

/** A namespace at the bridge, with an address of its number; `u0` as the others have it. */
function atBridge(t: TestContext, wire: ScratchNamespace, number: number): ScratchNamespace {
  const host = scratchNamespace(t);
  host.run('ip link del u0');
  call(`link add u0 netns ${nameOf(host)} type veth peer name h${number} netns ${nameOf(wire)}`);
  wire.run(`ip link set h${number} master br0 up`);
  for (const line of [
    `ip address add 192.0.2.${number}/24 dev u0`,
    'ip link set u0 up',
    'ip link set lo up',
    // Packets come by one device while the route goes by the other.
    'sysctl -qw net.ipv4.conf.all.rp_filter=0',
    'sysctl -qw net.ipv4.conf.default.rp_filter=0',
  ])
    host.run(line);
  return host;
}

/** A program in a host's network, until the test ends. What it prints is kept, or goes to a file. */
function start(t: TestContext, { namespace }: RotatingHost, argv: readonly string[], file?: string) {
  const log = file === undefined ? 'pipe' : openSync(file, 'w');
  const child = spawn('ip', ['netns', 'exec', nameOf(namespace), ...argv], {
    stdio: ['ignore', log, 'inherit'],
    detached: true,
  });
  if (typeof log === 'number') closeSync(log);
  let output = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const ended = once(child, 'exit');
  const isRunning = () => child.exitCode === null && child.signalCode === null;
  const kill = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined && isRunning()) process.kill(-child.pid, signal);
  };
  t.after(async () => {
    kill('SIGKILL');
    await ended;
  });
  return { kill, ended, isRunning, output: () => output };
}

const counterOf = ({ namespace }: RotatingHost, name: string): number =>
  Number(new RegExp(`${name}\\s+(\\d+)`).exec(namespace.run(`nstat -asz ${name}`))?.[1]);

/** Where answers are missing in what the sender of echoes printed: how many, and seconds since an epoch. */
function gapsIn(log: string): string[] {
  const answers = Array.from(log.matchAll(/^\[([\d.]+)\] .* icmp_seq=(\d+) /gm), ([, at, sequence]) => ({
    at: Number(at),
    sequence: Number(sequence),
  })).sort((one, other) => one.at - other.at);
  return answers.flatMap(({ at, sequence }, index) => {
    // The number has 16 bits. One that was overtaken comes out as a step of almost all of them.
    const missing = (sequence - (answers[index - 1]?.sequence ?? 0) - 1) & 0xffff;
    return missing > 0 && missing < 0x8000 ? [`${missing} before #${sequence} at ${at}`] : [];
  });
}

/**
 * Echo requests from one host to another. How many the first one's kernel has sent, and of how many it has got no answer: the
 * program itself loses some where it gets no processor for a second.
 */
async function echoes(
  t: TestContext,
  {
    from,
    to,
    perSecond,
    folder,
  }: { from: RotatingHost; to: RotatingHost; perSecond: number; folder: string },
) {
  const log = join(folder, `echoes-${from.address}`);
  const program = start(t, from, [process.execPath, ECHO_SENDER, to.address, String(perSecond)], log);
  await until(
    () => {
      assert.ok(program.isRunning(), 'the sender of echoes runs');
      return counterOf(from, 'IcmpInEchoReps') > 0;
    },
    { what: 'first answer', intervalMs: 1_000 },
  );
  return async () => {
    program.kill('SIGINT');
    await program.ended;
    const sent = counterOf(from, 'IcmpOutEchos');
    const unanswered = () => sent - counterOf(from, 'IcmpInEchoReps');
    // The last ones may be under way.
    await until(() => unanswered() === 0, { what: 'the last answer', timeoutMs: 1_000 }).catch(() => {});
    return { sent, lost: unanswered(), gaps: gapsIn(readFileSync(log, 'utf8')).slice(0, 10) };
  };
}

/**
 * Segments that were sent again because they had not arrived. A slow machine sends some again that had: the other end says so
 * (RFC 2883), and then none was lost.
 */
function lostSegments({ namespace }: RotatingHost): number {
  const listing = namespace.run('nstat -asz TcpRetransSegs TcpExtTCPDSACKRecv');
  const [again, needless] = ['TcpRetransSegs', 'TcpExtTCPDSACKRecv'].map((name) =>
    Number(new RegExp(`${name}\\s+(\\d+)`).exec(listing)?.[1]),
  );
  return (again ?? 0) - (needless ?? 0);
}

/** A number each 50 ms over one connection. Says how many came, and whether they came in order to the end. */
async function stream(t: TestContext, from: RotatingHost, to: RotatingHost) {
  const sink = start(t, to, ['sh', '-c', 'tail -f /dev/null | busybox nc -l -p 9000']);
  await until(() => to.namespace.run('ss -Hltn').includes(':9000'), {
    what: 'the receiver',
    intervalMs: 200,
  });
  const send = `n=0; while echo $n; do n=$((n + 1)); sleep 0.05; done | busybox nc ${to.address} 9000`;
  start(t, from, ['sh', '-c', send]);
  const numbers = (): string[] => sink.output().split('\n').filter(Boolean);
  const goesOn = async (): Promise<void> => {
    const before = numbers().length;
    await until(() => numbers().length > before + 3, { what: 'numbers over TCP' });
  };
  await goesOn();
  return async () => {
    await goesOn();
    const all = numbers();
    return { received: all.length, inOrder: all.slice(0, -1).every((text, at) => text === String(at)) };
  };
}

/** Waits until these hosts have one device each, of this name, with the key of this number. */
async function rotated(hosts: readonly RotatingHost[], device: string, generation: number): Promise<void> {
  for (const { namespace, rotation } of hosts)
    await until(
      () => {
        const { phase, generation: found } = rotation.status ?? {};
        // To ask the kernel takes a program, for which all hosts wait: they are in this process.
        if (phase !== 'idle' || found !== generation) return false;
        const names = namespace.json('ip link show type wireguard').map(({ ifname }) => ifname);
        return names.length === 1 && names[0] === device;
      },
      { what: `rotation to ${device}`, timeoutMs: ROTATION_MS, intervalMs: 500 },
    );
}

test('three rotations lose neither an echo nor a segment, the last of them with a host down', {
  skip,
}, async (t) => {
  const wire = scratchNamespace(t);
  // Its own address would answer for that of h1.
  for (const line of ['ip link del u0', 'ip link add br0 type bridge', 'ip link set br0 up']) wire.run(line);
  const leases = new SharedLeases();
  const folder = await scratchFolder(t);
  const hosts: RotatingHost[] = [];
  for (const number of [1, 2, 3]) {
    const namespace = atBridge(t, wire, number);
    hosts.push(await RotatingHost.start(t, { number, namespace, leases, folder, patienceMs: PATIENCE_MS }));
  }
  const [one, two, three] = hosts;
  assert.ok(one && two && three);
  const firstKey = readFileSync(one.keyFile, 'utf8');

  const fromOne = await echoes(t, { from: one, to: two, perSecond: 200, folder });
  const fromThree = await echoes(t, { from: three, to: one, perSecond: 20, folder });
  const ended = await stream(t, one, two);
  const before = lostSegments(one);
  const moments: string[] = [];
  const note = (what: string): void => {
    moments.push(`${what} at ${(Date.now() / 1000).toFixed(3)}`);
    t.diagnostic(moments.at(-1) ?? '');
  };
  note('begin');

  assert.equal(one.rotation.request(), undefined);
  await until(() => existsSync(`${one.keyFile}.next`), { what: 'the next key', timeoutMs: 20_000 });
  assert.equal(statSync(`${one.keyFile}.next`).mode & 0o777, 0o400);
  await rotated(hosts, 'flannel-wg.b', 2);
  note('first rotation');
  assert.notEqual(readFileSync(one.keyFile, 'utf8'), firstKey);
  assert.ok(!existsSync(`${one.keyFile}.next`));
  assert.equal(statSync(one.keyFile).mode & 0o777, 0o400);

  // Two begin at once: it is one rotation.
  for (const host of [two, three]) assert.equal(host.rotation.request(), undefined);
  await rotated(hosts, 'flannel-wg', 3);
  note('second rotation');
  const ofThree = await fromThree();
  t.diagnostic(`h3 to h1: ${JSON.stringify(ofThree)}`);
  assert.equal(ofThree.lost, 0, JSON.stringify({ ...ofThree, moments }));

  three.die();
  three.namespace.run('ip link set u0 down');
  assert.equal(one.rotation.request(), undefined);
  await rotated([one, two], 'flannel-wg.b', 4);
  note('third rotation');
  const ofOne = await fromOne();
  const { received, inOrder } = await ended();
  const lost = lostSegments(one) - before;
  t.diagnostic(`h1 to h2: ${JSON.stringify(ofOne)}`);
  t.diagnostic(`TCP: ${received} numbers in order, ${lost} segments lost (patience ${patience()})`);
  assert.equal(ofOne.lost, 0, JSON.stringify({ ...ofOne, moments }));
  assert.ok(inOrder);
  assert.equal(lost, 0);
});
