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
import { after, before, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

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

/** Folders with a dockerd that only helps: of Docker 20.10, and of Docker 29 (its list of options, cut short). */
let docker20 = '';
let docker29 = '';
const HELP =
  '      --bip string                Specify network bridge IP\n      --mtu int                   Set the MTU\n';
const DOOR_HELP =
  '      --allow-direct-routing                  Allow remote access to\n' +
  '      --bridge-accept-fwmark string           In bridge networks, accept\n';

before(() => {
  docker20 = dockerdWith(`cat <<E\n${HELP}E`);
  docker29 = dockerdWith(`cat <<E\n${DOOR_HELP}${HELP}E`);
});
after(() => {
  for (const folder of [docker20, docker29]) rmSync(folder, { recursive: true, force: true });
});

function dockerdWith(script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'mk-docker-opts-dockerd-'));
  writeFileSync(join(folder, 'dockerd'), `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`, { mode: 0o755 });
  return folder;
}

function makeRoom(t: TestContext): Room {
  const folder = scratchFolder(t);
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
  return spawnSync(program, rest, {
    env: { PATH: docker20, ...env },
    encoding: 'utf8',
    ...(cwd !== undefined && { cwd }),
  });
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

const DOORS = '--allow-direct-routing --bip=10.5.26.1/24 --bridge-accept-fwmark=0x2000/0x2000';
const DOOR_CASES: readonly [name: string, flags: string[], env: Record<string, string>, options: string][] = [
  ['a dockerd that knows them', [], {}, ` ${DOORS} --ip-masq=false --mtu=1450`],
  [
    'a version by hand',
    ['--docker-version=29.0.1'],
    { PATH: '/nowhere' },
    ` ${DOORS} --ip-masq=false --mtu=1450`,
  ],
  ['a version by hand that lacks them', ['--docker-version=28.5'], {}, OPTIONS],
  ['no mark', [], { FLANNELD_DOCKER_FWMARK: '0' }, OPTIONS],
  [
    'another mark',
    [],
    { FLANNELD_DOCKER_FWMARK: '0x10' },
    ` ${DOORS.replaceAll('0x2000', '0x10')} --ip-masq=false --mtu=1450`,
  ],
  [
    'a back end that needs no direct routing',
    [],
    { DOCKER_OPTS: '--firewall-backend=iptables' },
    '--firewall-backend=iptables  --bip=10.5.26.1/24 --bridge-accept-fwmark=0x2000/0x2000 --ip-masq=false --mtu=1450',
  ],
];

for (const [name, flags, env, expected] of DOOR_CASES) {
  test(`Docker's own doors for the overlay: ${name}`, (t) => {
    const { subnetEnv, output } = makeRoom(t);
    const argv = [PROGRAM, '-c', '-f', subnetEnv, '-d', output, ...flags];
    const result = run(argv, { env: { PATH: docker29, ...env } });
    assert.deepEqual([result.status, result.stdout, result.stderr], [0, '', '']);
    assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${expected}"\n`);
  });
}

const BOTH_FAMILIES = `FLANNEL_NETWORK=10.5.0.0/16
FLANNEL_SUBNET=10.5.26.1/24
FLANNEL_IPV6_NETWORK=fd00:10:5::/48
FLANNEL_IPV6_SUBNET=fd00:10:5:7::1/64
FLANNEL_MTU=1430
FLANNEL_IPMASQ=true
`;

test('with --ipv6 dockerd gets the IPv6 subnet; without, the options are flannel’s, and one line says so', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const argv = [PROGRAM, '-f', subnetEnv, '-d', output];
  writeFileSync(subnetEnv, BOTH_FAMILIES);
  const without = run([...argv, '-c']);
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS.replace('1450', '1430')}"\n`);
  assert.match(without.stderr, /^mk-docker-opts: the network has IPv6 too, .* --ipv6 only\n$/);
  assert.equal(run([...argv, '--ipv6']).stderr, '');
  assert.equal(
    readFileSync(output, 'utf8'),
    `DOCKER_OPT_BIP="--bip=10.5.26.1/24"
DOCKER_OPT_FIXED_CIDR_V6="--fixed-cidr-v6=fd00:10:5:7::/64"
DOCKER_OPT_IPMASQ="--ip-masq=false"
DOCKER_OPT_IPV6="--ipv6"
DOCKER_OPT_MTU="--mtu=1430"
DOCKER_OPTS=" --bip=10.5.26.1/24 --fixed-cidr-v6=fd00:10:5:7::/64 --ip-masq=false --ipv6 --mtu=1430"
`,
  );
  writeFileSync(subnetEnv, SUBNET_ENV);
  assert.equal(run([...argv, '-c', '--ipv6']).stderr, '');
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS}"\n`);
});

test('an IPv6 subnet that is none is one line and exit 1; another subnet in daemon.json is said', (t) => {
  const { folder, subnetEnv, output } = makeRoom(t);
  const argv = [PROGRAM, '-c', '--ipv6', '-f', subnetEnv, '-d', output];
  writeFileSync(subnetEnv, `${SUBNET_ENV}FLANNEL_IPV6_SUBNET=10.5.26.1/24\n`);
  const { status, stderr } = run(argv);
  assert.equal(status, 1);
  assert.match(stderr, /^mk-docker-opts: Invalid value of FLANNEL_IPV6_SUBNET: 10\.5\.26\.1\/24; .*\n$/);
  assert.throws(() => readFileSync(output), { code: 'ENOENT' });
  const config = join(folder, 'daemon.json');
  writeFileSync(config, '{"fixed-cidr-v6": "2001:db8::/64"}');
  writeFileSync(subnetEnv, BOTH_FAMILIES);
  assert.match(
    run(argv, { env: { DOCKER_OPTS: `--config-file=${config}` } }).stderr,
    /^mk-docker-opts: dockerd has fixed-cidr-v6=2001:db8::\/64 already, .*\n$/,
  );
  assert.match(readFileSync(output, 'utf8'), /--ip-masq=false --ipv6 --mtu=1430"\n$/);
});

test('each of Docker’s doors has a variable of its own', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  run([PROGRAM, '-i', '-f', subnetEnv, '-d', output], { env: { PATH: docker29 } });
  const doors = [
    'DOCKER_OPT_ALLOW_DIRECT_ROUTING="--allow-direct-routing"\n',
    'DOCKER_OPT_BRIDGE_ACCEPT_FWMARK="--bridge-accept-fwmark=0x2000/0x2000"\n',
  ];
  const [bip = '', ...rest] = INDIVIDUAL.split(/(?<=\n)/);
  assert.equal(readFileSync(output, 'utf8'), [doors[0], bip, doors[1], ...rest].join(''));
});

test('options in daemon.json are left out, because dockerd refuses them twice; another mark there is reported', (t) => {
  const { folder, subnetEnv, output } = makeRoom(t);
  const config = join(folder, 'daemon.json');
  const own = `--config-file=${config}`;
  const env = { PATH: docker29, DOCKER_OPTS: own };
  writeFileSync(config, '{"allow-direct-routing": true, "bridge-accept-fwmark": "0x2000/0x2000"}');
  const argv = [PROGRAM, '-c', '-f', subnetEnv, '-d', output];
  assert.equal(run(argv, { env }).stderr, '');
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${own} ${OPTIONS}"\n`);
  writeFileSync(config, '{"bridge-accept-fwmark": "0x10/0x10"}');
  assert.match(
    run(argv, { env }).stderr,
    /^mk-docker-opts: dockerd has --bridge-accept-fwmark=0x10\/0x10 already, but flanneld marks with 0x2000\/0x2000: .*\n$/,
  );
});

test('the options of Debian’s unit in DOCKER_OPTS are read with another key, too', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const env = { PATH: docker29, DOCKER_OPTS: '--firewall-backend=iptables --bridge-accept-fwmark=0x2000' };
  run([PROGRAM, '-c', '-k', 'OPTIONS', '-f', subnetEnv, '-d', output], { env });
  assert.equal(readFileSync(output, 'utf8'), `OPTIONS="${OPTIONS}"\n`);
});

test('a dockerd that gives no help is said in one line, and gets flannel’s options', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const broken = dockerdWith('echo "exec format error" >&2; exit 126');
  t.after(() => rmSync(broken, { recursive: true }));
  const result = run([PROGRAM, '-c', '-f', subnetEnv, '-d', output], { env: { PATH: broken } });
  assert.equal(result.status, 0);
  assert.match(
    result.stderr,
    /^mk-docker-opts: dockerd --help gave no answer \(exec format error\): .* --docker-version=29\n$/,
  );
  assert.equal(readFileSync(output, 'utf8'), `DOCKER_OPTS="${OPTIONS}"\n`);
});

test('a mark that is none is one line and exit 1, and nothing is written', (t) => {
  const { subnetEnv, output } = makeRoom(t);
  const env = { PATH: docker29, FLANNELD_DOCKER_FWMARK: '0x4000' };
  const result = run([PROGRAM, '-c', '-f', subnetEnv, '-d', output], { env });
  assert.equal(result.status, 1);
  assert.match(
    result.stderr,
    /^mk-docker-opts: Invalid value of FLANNELD_DOCKER_FWMARK: 0x4000; kube-proxy .*\n$/,
  );
  assert.throws(() => readFileSync(output), { code: 'ENOENT' });
});

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
  for (const wrong of [['-x'], ['-h'], ['-?'], ['-f'], ['-k', 'a b'], ['--docker-version=new']]) {
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

test('an output that can not be written is one line and exit 1, and no temporary file is left', (t) => {
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
    // Without a PATH the machine's own dockerd is found.
    const words = ['--docker-version=20.10', '-c', '-f', subnetEnv, '-d', output];
    const result = run([...call, ...words], { cwd, env });
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
