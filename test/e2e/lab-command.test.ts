import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { LAB_ROOT } from '#src/lab/lab.ts';
import { until } from '#src/lib/until.ts';
import { systemCommands } from '#src/sys/command.ts';
import { FLANNELD, WEFT } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * `weft lab` as an operator types it. Every lab here runs the flanneld under test.
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'tcpdump', 'nft', 'iptables');

const weft = (words: readonly string[]) => systemCommands.run([WEFT, 'lab', ...words], { timeoutMs: 60_000 });

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
];

test('two labs side by side: up, ping, exec, walk, status, break, down', { skip }, async (t) => {
  const names = [newName(t), newName(t)];
  const up = ['up', '--hosts=2', '--underlay=l3', `--flanneld=${FLANNELD}`];
  const results = await Promise.all(names.map((name) => weft([...up, `--name=${name}`])));
  for (const [n, { code, stdout, stderr }] of results.entries()) {
    assert.equal(code, 0, stderr);
    assert.match(stdout, new RegExp(`^lab ${names[n]} is up: 2 hosts in [\\d.]+ s\\n$`));
    assert.match(stderr, /^underlay l3\nhost h1\nhost h2\n/);
  }
  const [name = '', other = ''] = names;
  const pinged = await weft(['ping', `--name=${name}`]);
  assert.match(pinged.stdout, /^h1\/c1 -> h2\/c1 {2}[\d.]+ ms$/m);
  assert.match(pinged.stdout, /^2 of 2 answered$/m);

  assert.equal((await weft(['exec', `--name=${name}`, 'h2', '--', 'hostname'])).stdout, 'h2\n');
  assert.equal((await weft(['exec', `--name=${name}`, 'h2', '--', 'sh', '-c', 'exit 7'])).code, 7);
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
  }[];
  assert.deepEqual(
    status.map((host) => [host.name, host.peers]),
    [
      ['store', 0],
      ['h1', 1],
      ['h2', 1],
    ],
  );

  const flushed = await weft(['break', `--name=${name}`, '--json', 'rules-flushed']);
  assert.equal((JSON.parse(flushed.stdout) as { mended: boolean }).mended, true, flushed.stdout);

  await weft(['down', `--name=${name}`]);
  assert.deepEqual(left(name), []);
  assert.equal((await weft(['ping', `--name=${other}`])).code, 0);
});

test('what a user gets wrong is told in one line', { skip }, async () => {
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
    [['break', 'gremlins'], 1, /^weft lab: no fault is called gremlins; choose one of route-deleted, /],
    [['levitate'], 2, /^weft lab: there is no levitate\n/],
  ];
  for (const [words, code, pattern] of cases) {
    const result = await weft(words);
    assert.match(result.stderr, pattern);
    assert.equal(result.code, code, result.stderr);
  }
});

for (const how of ['SIGINT', 'SIGKILL'] as const) {
  const then = how === 'SIGINT' ? 'leaves nothing' : 'leaves what down takes away';
  test(`an up that ends by ${how} ${then}`, { skip }, async (t) => {
    const name = newName(t);
    const up: ChildProcess = spawn(WEFT, [
      'lab',
      'up',
      '--hosts=20',
      `--name=${name}`,
      `--flanneld=${FLANNELD}`,
    ]);
    const ended = new Promise<number | null>((resolve) => up.once('exit', resolve));
    await until(() => existsSync(`/run/netns/weft-${name}-h3`), { what: 'third host' });
    up.kill(how);
    const code = await ended;
    if (how === 'SIGINT') {
      assert.equal(code, 130);
    } else {
      assert.notDeepEqual(left(name), []);
      assert.equal((await weft(['down', `--name=${name}`])).code, 0);
    }
    assert.deepEqual(left(name), []);
  });
}
