import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const BIN = fileURLToPath(new URL('../../bin/', import.meta.url));
const PROGRAM = join(BIN, 'mk-docker-opts.sh');
const SUBNET_ENV =
  'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.26.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
const INDIVIDUAL =
  'DOCKER_OPT_BIP="--bip=10.5.26.1/24"\nDOCKER_OPT_IPMASQ="--ip-masq=false"\nDOCKER_OPT_MTU="--mtu=1450"\n';
const OPTIONS = ' --bip=10.5.26.1/24 --ip-masq=false --mtu=1450';

interface Room {
  readonly folder: string;
  readonly subnetEnv: string;
  readonly output: string;
}

function makeRoom(t: TestContext): Room {
  const folder = mkdtempSync(join(tmpdir(), 'mk-docker-opts-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const room = { folder, subnetEnv: join(folder, 'subnet.env'), output: join(folder, 'docker_opts.env') };
  writeFileSync(room.subnetEnv, SUBNET_ENV);
  return room;
}

function run(
  argv: readonly string[],
  { env = {}, cwd }: { env?: Record<string, string>; cwd?: string } = {},
): { status: number | null; stdout: string; stderr: string } {
  const [program = PROGRAM, ...rest] = argv;
  // Nothing of the environment this test runs in, PATH included.
  return spawnSync(program, rest, { env, encoding: 'utf8', ...(cwd !== undefined && { cwd }) });
}

const OUTPUTS: readonly [flags: string, expected: string][] = [
  ['', `${INDIVIDUAL}DOCKER_OPTS="${OPTIONS}"\n`],
  ['-ic', `${INDIVIDUAL}DOCKER_OPTS="${OPTIONS}"\n`],
  ['-i', INDIVIDUAL],
  ['-c', `DOCKER_OPTS="${OPTIONS}"\n`],
  ['-c -k DOCKER_NETWORK_OPTIONS', `DOCKER_NETWORK_OPTIONS="${OPTIONS}"\n`],
  ['-ckOPTS operand', `OPTS="${OPTIONS}"\n`],
  ['-c -m', 'DOCKER_OPTS=" --bip=10.5.26.1/24 --mtu=1450"\n'],
];

for (const [flags, expected] of OUTPUTS) {
  test(`mk-docker-opts.sh ${flags}: writes what flannel's writes, byte for byte`, (t) => {
    const { subnetEnv, output } = makeRoom(t);
    const result = run([PROGRAM, '-f', subnetEnv, '-d', output, ...flags.split(' ').filter(Boolean)]);
    assert.deepEqual([result.status, result.stdout, result.stderr], [0, '', '']);
    assert.equal(readFileSync(output, 'utf8'), expected);
  });
}

test('the caller’s options come first, and its too large MTU is said', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const result = run([PROGRAM, '-c', '-f', subnetEnv, '-d', output], { env: { DOCKER_OPTS: '--mtu=1500' } });
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="--mtu=1500 ${OPTIONS}"\n`);
  assert.equal(result.status, 0);
  assert.match(result.stderr, /^mk-docker-opts: --mtu=1500 is set by hand, .* 1450 bytes.*\n$/);
});

test('without subnet.env dockerd gets no options, exit code 0 as in flannel, and one line says so', (t) => {
  const { folder, output } = makeRoom(t);
  const missing = join(folder, 'none.env');
  const result = run([PROGRAM, '-c', '-f', missing, '-d', output]);
  assert.equal(readFileSync(output, 'utf8'), 'DOCKER_OPTS=""\n');
  assert.equal(result.status, 0);
  assert.match(result.stderr, /^mk-docker-opts: there is no .*none\.env: .*start flanneld first\n$/);
});

test('an output that is no regular file is written to, not replaced', (t) => {
  const { folder, subnetEnv, output } = makeRoom(t);
  const link = join(folder, 'link');
  symlinkSync(output, link);
  run([PROGRAM, '-c', '-f', subnetEnv, '-d', link]);
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS}"\n`);
  const pipeline = `${PROGRAM} -c -f ${subnetEnv} -d /dev/stdout | while read -r line; do echo "$line"; done`;
  assert.equal(run(['/bin/sh', '-c', pipeline]).stdout, `DOCKER_OPTS="${OPTIONS}"\n`);
});

test('wrong use and help print the usage and exit 1', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  for (const wrong of [['-x'], ['-h'], ['-?'], ['-f'], ['-k', 'a b']]) {
    const result = run([PROGRAM, '-d', output, ...wrong]);
    assert.equal(result.status, 1, wrong.join(' '));
    assert.match(result.stderr, /mk-docker-opts \[-f FLANNEL-ENV-FILE\]/, wrong.join(' '));
  }
  assert.throws(() => readFileSync(output), { code: 'ENOENT' });
  writeFileSync(subnetEnv, SUBNET_ENV.replace('true', 'maybe'));
  const result = run([PROGRAM, '-f', subnetEnv, '-d', output]);
  assert.equal(result.status, 1);
  assert.match(result.stderr, /^mk-docker-opts: Invalid value of FLANNEL_IPMASQ: maybe; .*\n$/);
  assert.throws(() => readFileSync(output), { code: 'ENOENT' });
});

test('an output that can not be written is one line and exit 1, and nothing is left beside it', (t) => {
  const { folder, subnetEnv } = makeRoom(t);
  const unwritable: [path: string, reason: string][] = [
    [folder, 'EISDIR'],
    [join(subnetEnv, 'docker_opts.env'), 'ENOTDIR'],
  ];
  for (const [path, reason] of unwritable) {
    const result = run([PROGRAM, '-f', subnetEnv, '-d', path]);
    assert.equal(result.status, 1);
    const line = `^mk-docker-opts: could not write ${path}: ${reason}: .*; make its folder writable, .* -d\n$`;
    assert.match(result.stderr, new RegExp(line));
  }
  assert.deepEqual(readdirSync(folder), ['subnet.env']);
});

test('an output that is there already is replaced as a whole', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  writeFileSync(output, 'old\n');
  const before = statSync(output).ino;
  run([PROGRAM, '-c', '-f', subnetEnv, '-d', output]);
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS}"\n`);
  assert.notEqual(statSync(output).ino, before);
});

test('an input that can not be read is one line and exit 1', (t) => {
  const { folder, output } = makeRoom(t);
  const result = run([PROGRAM, '-f', folder, '-d', output]);
  assert.equal(result.status, 1);
  assert.match(result.stderr, /^mk-docker-opts: could not read .*: EISDIR: .*; name the file .* with -f\n$/);
  assert.throws(() => readFileSync(output), { code: 'ENOENT' });
});

test('a checkout without its packages says how to get them, and exits 1', (t) => {
  const { folder } = makeRoom(t);
  mkdirSync(join(folder, 'bin'));
  for (const name of ['mk-docker-opts', 'flanneld', 'weft']) {
    copyFileSync(join(BIN, name), join(folder, 'bin', name));
    const result = run([join(folder, 'bin', name)]);
    assert.equal(result.status, 1);
    assert.equal(
      result.stderr,
      `${name}: there is no Node in ${folder}/node_modules: run ${folder}/script/setup\n`,
    );
  }
});

test('the launcher runs through links, from any folder, under any shell, with no PATH', (t) => {
  const { folder, subnetEnv, output } = makeRoom(t);
  mkdirSync(join(folder, 'opt'));
  const absolute = join(folder, 'opt', 'mk-docker-opts.sh');
  symlinkSync(PROGRAM, absolute);
  const relative = join(folder, 'mk');
  symlinkSync('opt/mk-docker-opts.sh', relative);
  const calls: [call: string[], cwd: string, env: Record<string, string>][] = [
    [[absolute], '/', {}],
    [[absolute], '/', { PATH: '' }],
    [['./mk'], folder, { PATH: '/nowhere' }],
    [['/bin/sh', 'mk'], folder, {}],
    [['/bin/bash', PROGRAM], '/', {}],
    [['/bin/sh', 'mk-docker-opts.sh'], BIN, {}],
  ];
  for (const [call, cwd, env] of calls) {
    rmSync(output, { force: true });
    const result = run([...call, '-c', '-f', subnetEnv, '-d', output], { cwd, env });
    assert.equal(result.status, 0, `${call.join(' ')}: ${result.stderr}`);
    assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS}"\n`);
  }
});

test('a shell that sources the output has the options as they were given', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const options = `--label="a $HOME \`id\`" --label='b\\'`;
  run([PROGRAM, '-c', '-f', subnetEnv, '-d', output], { env: { DOCKER_OPTS: options } });
  const sourced = spawnSync('/bin/sh', ['-c', `. ${output}; printf %s "$DOCKER_OPTS"`], { encoding: 'utf8' });
  assert.equal(sourced.stdout, `${options} ${OPTIONS}`);
});
