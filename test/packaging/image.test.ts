import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Container } from '#src/lab/container.ts';
import { bridgeOptionsOf, makeBridge, makeContainer } from '#src/lab/container.ts';
import { Docker } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { until } from '#src/sys/until.ts';
import { bpfForms } from '../support/bpf-forms.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { flagsFor, inRepository, startStore, waitForRoute, writeConfig } from '../support/flanneld.ts';
import { type BuiltImage, builtImage } from '../support/image.ts';
import { FAST_CAGE, ImageHost } from '../support/image-host.ts';
import { cannotRun, testLab, wholeFile } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * The image, loaded and run by Debian's Docker, by Docker 29 and by containerd:
 *
 *     store .190     h1 .191 dockerd 20.10 ── docker0 ── one     h2 .192 dockerd 29 ── docker0 ── two     h3 .193 containerd
 */
const { debian, iptables } = dockerEngines();
const cannot = cannotRun('dockerd', 'docker', 'containerd', 'ctr', 'busybox', 'ping', 'nft', 'xz');
const skip = cannot || debian.skip || iptables.skip;

const WANTED_CAPABILITIES = (1 << 12) | (1 << 13); // CAP_NET_ADMIN, CAP_NET_RAW: linux/capability.h
const SECCOMP_MODE_FILTER = '2'; // linux/seccomp.h

let image: BuiltImage;
let later: BuiltImage;
let lab: Lab;
let one: ImageHost;
let two: ImageHost;
let third: Host;
let thirdFlags: readonly string[];

wholeFile(skip, async (t) => {
  image = await builtImage();
  later = await builtImage({ version: '0.1.1' });
  lab = await testLab(t, { hosts: 3 });
  const store = await startStore(lab, 'embedded');
  await writeConfig(store, 3);
  const [h1, h2, h3] = lab.hosts;
  assert.ok(h1 && h2 && h3);
  third = h3;
  thirdFlags = flagsFor(h3, store);
  const start = async (host: Host, { programs, config }: typeof debian): Promise<ImageHost> => {
    const docker = await Docker.start(host, { options: [], cgroup: lab.cgroup, programs, config });
    await docker.buildImage();
    return new ImageHost(docker, flagsFor(host, store));
  };
  [one, two] = await Promise.all([start(h1, debian), start(h2, iptables)]);
});

const both = async (act: (node: ImageHost) => Promise<void>): Promise<void> =>
  void (await Promise.all([one, two].map(act)));
let containers: readonly [Container, Container];

test('docker load takes the archive: one image, with flannel’s entry point and its labels', { skip }, () =>
  both(async (node) => {
    assert.match(await node.load(image), new RegExp(`^Loaded image: ${image.name}$`, 'm'));
    const images = (await node.must(['images', '--all', '--format', '{{.Repository}}:{{.Tag}}'])).trim();
    assert.deepEqual(images.split('\n').sort(), ['weft-lab:latest', image.name]);
    const [{ Config }] = JSON.parse(await node.must(['image', 'inspect', image.name]));
    assert.deepEqual(Config.Entrypoint, ['/opt/bin/flanneld']);
    assert.deepEqual(Config.Healthcheck.Test, ['CMD', 'weft', 'status']);
    assert.equal(Config.Labels['org.opencontainers.image.version'], image.name.split(':')[1]);
  }),
);

test('flanneld runs with two capabilities, a read-only root and Docker’s filter of system calls', {
  skip,
}, async () => {
  await both(async (node) => {
    await node.run(image);
    const process = await node.processOf('weft');
    assert.equal(Number.parseInt(process.get('CapEff') ?? '', 16), WANTED_CAPABILITIES);
    assert.equal(process.get('NoNewPrivs'), '1');
    assert.equal(process.get('Seccomp'), SECCOMP_MODE_FILTER);
    assert.doesNotMatch(await node.must(['logs', 'weft']), /^E/m);
  });
  // A doctor finds what is missing while the other host still starts.
  await both((node) => node.untilStatus(/1 up, 0 down/));
  await both(async (node) => {
    const doctor = await node.weft(['doctor']);
    assert.match(doctor.stdout, / checks, 0 wrong, 0 could not look$/m, doctor.stdout + doctor.stderr);
  });
});

test('mk-docker-opts of the image writes Docker’s options, under flannel’s name too', { skip }, async () => {
  const words = ['-c', '-d', '/run/flannel/docker'];
  for (const program of ['mk-docker-opts', '/opt/bin/mk-docker-opts.sh']) {
    await one.once(image, program, words);
    const written = await one.host.read('/run/flannel/docker');
    assert.match(written ?? '', /^DOCKER_OPTS=" --bip=10\.0\.\d+\.1\/24 --ip-masq=false --mtu=1450"$/m);
    await one.host.must(['rm', '/run/flannel/docker']);
  }
});

test('Docker moves to the subnet, flanneld comes back with the same one, and containers reach each other', {
  skip,
}, async () => {
  await both(async (node) => {
    const before = await node.host.read('/run/flannel/subnet.env');
    await node.moveDocker(node === one ? debian.config : iptables.config);
    await node.ready();
    assert.equal(await node.host.read('/run/flannel/subnet.env'), before);
  });
  containers = await Promise.all([one.docker.run('one'), two.docker.run('two')]);
  await assertReach(...containers);
});

test('another image takes over under traffic, and no packet is lost', { skip }, async () => {
  await both(async (node) => void (await node.load(later)));
  const report = await duringTraffic(containers[1], containers[0].address, () =>
    both(async (node) => {
      await node.must(['stop', 'weft']);
      await node.must(['rm', 'weft']);
      await node.run(later);
    }),
  );
  assert.equal(report.lost, 0, `${report.lost} of ${report.sent}`);
  assert.ok(report.sent > 100);
});

test('without its container the traffic goes on', { skip }, async () => {
  const report = await duringTraffic(containers[1], containers[0].address, async () => {
    await one.must(['rm', '--force', 'weft']);
    await assertReach(...containers);
  });
  assert.equal(report.lost, 0, `${report.lost} of ${report.sent}`);
  await one.run(later);
});

// Docker 20.10 knows no capability of these names.
test('with two capabilities more of Docker 29, flows go fast; TCP as soon as the host sets conntrack', {
  skip: skip || ((await bpfForms()).get('clsact') ?? false),
}, async () => {
  await two.must(['rm', '--force', 'weft']);
  await two.run(later, { rights: FAST_CAGE, flags: ['--fast-path=on'] });
  const report = await duringTraffic(containers[1], containers[0].address, async () => {
    await two.untilStatus(
      /fast path {2}on, 1 container addresses, 1 peers, not for TCP: nf_conntrack_tcp_be_liberal is 0/,
    );
    await two.host.must(['sysctl', '-qw', 'net.netfilter.nf_conntrack_tcp_be_liberal=1']);
    await two.untilStatus(/fast path {2}on, 1 container addresses, 1 peers, (no|\d)/);
  });
  assert.equal(report.lost, 0, `${report.lost} of ${report.sent}`);
});

test('containerd imports the archive and runs it with the same rights', { skip }, async () => {
  const socket = await startContainerd(third);
  const ctr = (words: readonly string[]) =>
    third.must(['ctr', '--address', socket, ...words], { timeoutMs: 120_000 });
  await ctr(['images', 'import', image.archive]);
  const name = `docker.io/library/${image.name}`;
  assert.equal((await ctr(['images', 'list', '--quiet'])).trim(), name);
  await third.must(['mkdir', '-p', '/run/flannel', '/var/lib/weft']);
  await third.must(['sysctl', '-qw', 'net.ipv4.ip_forward=1']);
  // Words after the image are a whole command line for ctr.
  await ctr(['run', '--detach', ...ctrCage(lab), name, 'weft', 'flanneld', ...thirdFlags]);
  await until(async () => (await third.read('/run/flannel/subnet.env')) !== undefined, {
    what: 'subnet.env of h3',
    timeoutMs: 60_000,
  });
  const tasks = await ctr(['tasks', 'list']);
  const pid = /^weft\s+(\d+)\s+RUNNING/m.exec(tasks)?.[1] ?? '';
  const status = await third.must(['cat', `/proc/${pid}/status`]);
  assert.match(status, /^CapEff:\s+0{12}3000$/m);
  assert.match(status, /^Seccomp:\s+2$/m);
  await makeBridge(third, bridgeOptionsOf((await third.read('/run/flannel/subnet.env')) ?? ''));
  const three = await makeContainer(third, 'three');
  for (const { address, host } of containers) {
    await waitForRoute(third, address.split('.').slice(0, 3).join('.'));
    await waitForRoute(host, three.address.split('.').slice(0, 3).join('.'));
  }
  await assertReach(containers[0], three);
  await assertReach(containers[1], three);
  const said = await ctr(['tasks', 'exec', '--exec-id', 'status', 'weft', 'weft', 'status']);
  assert.match(said, /: ready$/m);
});

test('the image’s own weft removes all that it made', { skip }, async () => {
  await both(async (node) => {
    await node.must(['rm', '--force', 'weft']);
    assert.match(await node.once(later, 'weft', ['cleanup', '--all']), /^ip link del flannel\.1$/m);
    const left = await node.host.must([
      ...['sh', '-c', 'ip -br link; ip route; nft list ruleset; iptables-save; ls /run/flannel'],
    ]);
    assert.doesNotMatch(left, /flannel|subnet\.env/i);
    assert.deepEqual((await node.host.must(['ls', '-A', '/var/lib/weft'])).trim(), 'node-id');
  });
});

test('the guide runs the image as this test does', () => {
  const guide = readFileSync(inRepository('docs/guides/image.md'), 'utf8');
  for (const words of [
    '--cap-drop ALL --cap-add NET_ADMIN --cap-add NET_RAW',
    '--read-only',
    'no-new-privileges',
  ])
    assert.ok(guide.includes(words), words);
});

/** The first packet may wait for neighbours, and for devices that came up a moment ago. */
async function assertReach(...[one, other]: [Container, Container]): Promise<void> {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const)
    await from.must(['ping', '-n', '-c1', '-w10', to.address]);
}

/** Debian's, at its ordinary paths; its socket. */
async function startContainerd(host: Host): Promise<string> {
  const socket = '/run/containerd/containerd.sock';
  const daemon = await host.start('containerd', ['containerd', '--config', '/dev/null']);
  await daemon.waitForLog(/containerd successfully booted/, 60_000);
  return socket;
}

/** What ctr gives a container when it is not asked (containerd's oci.defaultUnixCaps), without NET_RAW. */
const DROPPED =
  'CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE';

const ctrCage = ({ cgroup }: Lab): string[] => [
  ...['--net-host', '--read-only', '--seccomp', '--cgroup', `${cgroup}/ctr`],
  ...DROPPED.split(' ').flatMap((name) => ['--cap-drop', `CAP_${name}`]),
  ...['--cap-add', 'CAP_NET_ADMIN'],
  ...['run/flannel', 'var/lib/weft'].flatMap((path) => [
    ...['--mount', `type=bind,src=/${path},dst=/${path},options=rbind:rw`],
  ]),
];
