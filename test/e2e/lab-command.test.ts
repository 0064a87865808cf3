import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { LAB_ROOT } from '#src/lab/lab.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemProcesses } from '#src/sys/process.ts';
import { until } from '#src/sys/until.ts';
import { FLANNELD, WEFT } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * `weft lab` as an operator types it. Every lab here runs the flanneld under test, on the embedded
 * store unless a test says otherwise.
 */
const skipLab = cannotRun('ping', 'tcpdump', 'nft', 'iptables');
const skipEtcd = skipLab || cannotRun('etcd', 'etcdctl');

const weft = (words: readonly string[]) =>
  systemCommands.run([WEFT, 'lab', ...words], { timeoutMs: 240_000 });

let made = 0;
/** A name for a lab of one test, which is taken down at its end. */
function newName(t: TestContext): string {
  const name = `t${process.pid}n${++made}`;
  t.after(() => weft(['down', `--name=${name}`]));
  return name;
}

const left = (name: string): string[] => [
  ...readdirSync('/run/netns').filter((it) => it.startsWith(`weft-${name}-`)),
  ...(existsSync(`${LAB_ROOT}/${name}`) ? [LAB_ROOT] : []),
  ...readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line.includes(`${LAB_ROOT}/${name}/`)),
];

test('a lab with host-gw, and backends that carry nothing in a lab', { skip: skipLab }, async (t) => {
  const name = newName(t);
  const up = ['up', `--name=${name}`, '--hosts=2', `--flanneld=${FLANNELD}`];
  const refused = async (...flags: string[]) => {
    const { code, stderr } = await weft([...up, ...flags]);
    assert.equal(code, 1);
    assert.deepEqual(left(name), []);
    return stderr.trim().split('\n').at(-1);
  };
  assert.match(
    (await refused('--backend=host-gw', '--underlay=l3')) ?? '',
    /cannot use host-gw: a router is between its hosts; use --underlay=l2, or --backend=vxlan/,
  );
  assert.match(
    (await refused('--backend=alloc')) ?? '',
    /cannot use the backend alloc: it carries no packets/,
  );
  assert.equal((await weft([...up, '--backend=host-gw'])).code, 0);
  assert.match((await weft(['ping', `--name=${name}`])).stdout, /^2 of 2 answered$/m);
  const walked = await weft(['walk', `--name=${name}`]);
  assert.equal(walked.code, 0, walked.stdout + walked.stderr);
  assert.match(
    walked.stdout,
    /^Each host has routes to the others' containers, so the packet crosses as it is\.$/m,
  );
  assert.match(walked.stdout, /^5\. h2: .*\n(.*\n)+ {5}ping 10\.0\.\d+\.2: answered in [\d.]+ ms$/m);
});

test('two labs side by side: up, ping, exec, walk, status, break, down', { skip: skipLab }, async (t) => {
  const names = [newName(t), newName(t)];
  const up = ['up', '--hosts=2', '--underlay=l3', `--flanneld=${FLANNELD}`];
  const results = await Promise.all(names.map((name) => weft([...up, `--name=${name}`])));
  for (const [n, { code, stdout, stderr }] of results.entries()) {
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^lab ${names[n]} is up: 2 hosts in [\\d.]+ s\\n$`));
    assert.match(stderr, /^underlay l3\nhost h1\nhost h2\nembedded store on store\n/);
    assert.ok(!`${stderr}${stdout}`.includes('\r'), 'lines are plain when piped');
  }
  const [name = '', other = ''] = names;
  const pinged = await weft(['ping', `--name=${name}`]);
  assert.match(pinged.stdout, /^h1\/c1 -> h2\/c1 {2}[\d.]+ ms$/m);
  assert.match(pinged.stdout, /^2 of 2 answered$/m);

  assert.equal((await weft(['exec', `--name=${name}`, 'h2', '--', 'hostname'])).stdout, 'h2\n');
  assert.equal((await weft(['exec', `--name=${name}`, 'h2', '--', 'sh', '-c', 'exit 7'])).code, 7);
  assert.equal((await weft(['exec', `--name=${name}`, 'h2', '--', 'pwd'])).stdout, `${process.cwd()}\n`);
  assert.match(
    (await weft(['exec', `--name=${name}`, 'h1/c1', '--', 'ip', 'route'])).stdout,
    /^default via 10\.0\./,
  );

  const walk = await weft(['walk', `--name=${name}`]);
  assert.equal(walk.code, 0, walk.stdout);
  assert.match(walk.stdout, /^7\. h2: /m);
  assert.match(walk.stdout, /VXLAN {5}flags 0x08, network \(VNI\) 1$/m);

  const status = JSON.parse((await weft(['status', `--name=${name}`, '--json'])).stdout) as {
    name: string;
    peers: number;
    programs: { name: string }[];
  }[];
  assert.deepEqual(
    status.map((host) => [host.name, host.peers]),
    [
      ['store', 0],
      ['h1', 1],
      ['h2', 1],
    ],
  );
  assert.deepEqual(
    status[0]?.programs?.map((it) => it.name),
    ['store'],
  );

  const flushed = await weft(['break', `--name=${name}`, '--json', 'rules-flushed']);
  assert.equal((JSON.parse(flushed.stdout) as { mended: boolean }).mended, true, flushed.stdout);

  const killed = await weft(['break', `--name=${name}`, '--json', '--for=1s', 'etcd-killed']);
  const { mended, traffic } = JSON.parse(killed.stdout) as { mended: boolean; traffic: { lost: number } };
  assert.deepEqual([mended, traffic.lost], [true, 0], killed.stdout);

  await weft(['down', `--name=${name}`]);
  assert.deepEqual(left(name), []);
  assert.equal((await weft(['ping', `--name=${other}`])).code, 0);
});

for (const [store, skip] of [
  ['embedded', skipLab],
  ['etcd', skipEtcd],
] as const) {
  test(`--json is one JSON value and nothing else (--store=${store})`, { skip }, async (t) => {
    const name = newName(t);
    const up = await weft(['up', '--json', `--store=${store}`, `--name=${name}`, `--flanneld=${FLANNELD}`]);
    assert.equal(up.stderr, '');
    const made = JSON.parse(up.stdout) as { lab: string; seconds: number; hosts: { peers: number }[] };
    assert.deepEqual([made.lab, made.hosts.map((host) => host.peers)], [name, [0, 1, 1]]);
    const pings = JSON.parse((await weft(['ping', '--json', `--name=${name}`])).stdout) as { ms: number }[];
    assert.equal(pings.filter((ping) => ping.ms > 0).length, 2);
    const hops = JSON.parse((await weft(['walk', '--json', `--name=${name}`])).stdout) as { ok: boolean }[];
    assert.deepEqual(
      hops.map((hop) => hop.ok),
      Array(7).fill(true),
    );
  });
}

test('a mistake of the user gets one line', { skip: skipLab }, async () => {
  const cases: [string[], number, RegExp][] = [
    [['status', '--name=nolab'], 1, /^weft lab: there is no lab nolab; make one with: weft lab up\n$/],
    [
      ['up', '--name=Not-A-Name'],
      1,
      /^weft lab: a lab's name is 1 to 20 small letters and digits, not "Not-A-Name"\n$/,
    ],
    [
      ['up', '--hosts=0'],
      2,
      /^weft lab up: invalid value "0" for flag -hosts: must be a number from 1 to 200\n/,
    ],
    [['up', '--network=blue'], 1, /^weft lab: --network is a network of Docker's, .*; add --docker\n$/],
    [['break', 'gremlins'], 1, /^weft lab: no fault is called gremlins; choose one of route-deleted, /],
    [['levitate'], 2, /^weft lab: there is no command levitate; "weft lab --help" lists them\n$/],
  ];
  for (const [words, code, pattern] of cases) {
    const result = await weft(words);
    assert.match(result.stderr, pattern);
    assert.equal(result.code, code, result.stderr);
  }
});

test('without root each command says so in one line', { skip: skipLab }, async () => {
  for (const command of ['up', 'status', 'ping', 'down']) {
    // Another user might not be able to read this checkout.
    const bounded = ['--bounding-set=-net_admin,-sys_admin'];
    const { code, stderr, stdout } = await systemCommands.run(
      ['setpriv', ...bounded, WEFT, 'lab', command, '--name=norights'],
      { timeoutMs: 60_000 },
    );
    assert.equal(stdout, '');
    assert.equal(
      stderr,
      "weft lab: lab norights can't be made, entered or removed without root (CAP_NET_ADMIN and CAP_SYS_ADMIN); run the command with sudo\n",
    );
    assert.equal(code, 1);
  }
});

/** Of a lab's folder: what is there when that much of `up` is done. */
const THIRD_HOST = 'hosts/h3';
const DAEMONS = 'hosts/h1/flanneld.json';

for (const [how, when, sight] of [
  ['SIGINT', 'while it makes hosts', THIRD_HOST],
  ['SIGKILL', 'while it makes hosts', THIRD_HOST],
  ['SIGKILL', 'while it starts flannelds', DAEMONS],
] as const) {
  const then = how === 'SIGINT' ? 'leaves nothing' : 'leaves what down takes away';
  test(`an up that ends by ${how} ${when} ${then}`, { skip: skipLab }, async (t) => {
    const name = newName(t);
    const words = ['lab', 'up', '--hosts=20', `--name=${name}`, `--flanneld=${FLANNELD}`];
    const up: ChildProcess = spawn(WEFT, words);
    const ended = new Promise<number | null>((resolve) => up.once('exit', resolve));
    await until(() => existsSync(`${LAB_ROOT}/${name}/${sight}`), { what: sight, timeoutMs: 90_000 });
    up.kill(how);
    const code = await ended;
    if (how === 'SIGINT') {
      assert.equal(code, 130);
    } else {
      assert.notDeepEqual(left(name), []);
      // Its commands go on without it, and "down" would miss the namespace that one of them makes later.
      await until(() => commandsWith(name).length === 0, { what: 'end of the commands that it had begun' });
      const running = processesOf(name);
      if (sight === DAEMONS) assert.notDeepEqual(running, []);
      assert.equal((await weft(['down', `--name=${name}`])).code, 0);
      assert.deepEqual(
        running.filter((pid) => systemProcesses().find(pid) !== undefined),
        [],
      );
    }
    assert.deepEqual(left(name), []);
  });
}

/** Command lines with the lab's name in them: its namespaces and files have it. */
const commandsWith = (name: string): string[] =>
  readdirSync('/proc')
    .filter((it) => /^\d+$/.test(it))
    .map((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      } catch {
        return '';
      }
    })
    .filter((line) => new RegExp(`\\b${name}\\b`).test(line));

/** Pids of what runs in the lab's namespaces. */
function processesOf(name: string): number[] {
  const namespaces = readdirSync('/run/netns').filter((it) => it.startsWith(`weft-${name}-`));
  const links = new Set(namespaces.map((it) => `net:[${statSync(`/run/netns/${it}`).ino}]`));
  const pids = readdirSync('/proc').filter((it) => /^\d+$/.test(it));
  return pids.map(Number).filter((pid) => {
    try {
      return links.has(readlinkSync(`/proc/${pid}/ns/net`));
    } catch {
      return false;
    }
  });
}
