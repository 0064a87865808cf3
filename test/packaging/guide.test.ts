import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { inRepository } from '../support/flanneld.ts';
import { type Guide, readGuide } from '../support/guide.ts';
import { type GuidePlaces, GuideRun, notExecuted, reasonsNotToRun } from '../support/guide-run.ts';
import { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines, cannotStartRhelLike, rhelLikeLayer } from '../support/machine/debian-root.ts';
import { containerOn } from '../support/machine/docker-on-machine.ts';
import { withoutLoss } from '../support/machine/seed-servers.ts';
import { Underlay } from '../support/machine/underlay.ts';
import { type BuiltPackages, builtPackages, noPackages } from '../support/packages.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 * The guides on installing, upgrading and removing, typed as they are written, on clean machines that have Docker:
 *
 *     172.16.70.190 Server_1   weft's store, or etcd
 *     172.16.70.191 Server_2   flanneld, dockerd ── docker0 ── client
 *     172.16.70.192 Server_3   flanneld, dockerd ── docker0 ── web
 */
const skip = cannotStartMachines() || noPackages() || cannotRun('ssh-keygen');
const INSTALL = readGuide('three-servers.md');
const BACKUP = readGuide('store-backup.md');
const UPGRADE = readGuide('upgrade.md');
const TO_ETCD = readGuide('store-to-etcd.md');
const REMOVE = readGuide('uninstall.md');
const BY_HAND = readGuide('install.md');
const GUIDES: readonly Guide[] = [INSTALL, BACKUP, TO_ETCD, UPGRADE, REMOVE, BY_HAND];
/** Those of the guides. */
const [VERSION, NEXT] = ['0.1.0', '0.1.1'];

/** In place of the registry, from which a user's Docker takes this image. */
const BUSYBOX_IMAGE = `
mkdir -p /tmp/image/bin
cp /bin/busybox /tmp/image/bin
/tmp/image/bin/busybox --install /tmp/image/bin
tar -c -C /tmp/image . | docker import - busybox
rm -r /tmp/image`;

/** A machine with the system that a guide's reader may have. */
interface Server {
  readonly machine: CleanMachine;
  readonly system: 'Debian or Ubuntu' | 'Fedora, RHEL or their like';
}
type Servers = readonly [Server, Server, Server];

/** What the guides call the machines: `every server`, `Server_2, with Debian or Ubuntu`, `Server_1, with etcd`. */
const placesOf =
  (registry: "weft's store" | 'etcd', [one, two, three]: Servers): GuidePlaces =>
  (place) => {
    const [, where = '', given] = /^(.*?)(?:,? with (.*))?$/.exec(place) ?? [];
    const meant: readonly Server[] | undefined = {
      'every server': [one, two, three],
      'Server_2 and Server_3': [two, three],
      Server_1: [one],
      Server_2: [two],
      Server_3: [three],
    }[where];
    return meant
      ?.filter(({ system }) => given === undefined || given === system || given === registry)
      .map(({ machine }) => machine);
  };

let now: BuiltPackages;
let next: BuiltPackages;
wholeFile(skip, async () => {
  now = await builtPackages({ version: VERSION });
  next = await builtPackages({ version: NEXT });
});

const VARIANTS = 2;
const runs: GuideRun[] = [];

test('Debian, with the store: from nothing to the ping, a backup, an upgrade between pings, and nothing again', {
  skip,
  timeout: 420_000,
}, async (t) => {
  const underlay = await Underlay.make(t);
  const [servers] = await Promise.all([
    startServers(t, underlay, ['deb', 'deb', 'deb']),
    startEtcds(t, underlay),
  ]);
  const [two, three] = [servers[1].machine, servers[2].machine];
  const run = new GuideRun(placesOf("weft's store", servers));
  runs.push(run);
  await run.follow(t, INSTALL);
  await run.follow(t, BACKUP);
  two.copyIn(next.deb, `/root/${basename(next.deb)}`);
  if (!run.failed) {
    await withoutLoss([await containerOn(two, 'client'), await containerOn(three, 'web')], async () => {
      await run.follow(t, TO_ETCD);
      await run.follow(t, UPGRADE);
    });
  }
  await removeContainers(two, three);
  await run.follow(t, REMOVE, ['A Docker host']);
  // Docker's unit is not started more than three times a minute, and no reader types so fast.
  await three.must(['systemctl', 'reset-failed', 'docker']);
  for (const [from, to] of [
    [join(now.programs, 'weft'), 'weft'],
    [inRepository('packaging'), 'packaging'],
  ] as const)
    three.copyIn(from, `/root/${to}`);
  await run.follow(t, BY_HAND);
  await run.follow(t, REMOVE, ['Without packages', 'A host that is gone', 'The store']);
});

test('a RHEL-like system, with etcd: from nothing to the ping, an upgrade, and nothing again', {
  skip: skip || cannotStartRhelLike(),
  timeout: 420_000,
}, async (t) => {
  const underlay = await Underlay.make(t);
  const servers = await startServers(t, underlay, ['deb', 'rpm', 'rpm']);
  const [two, three] = [servers[1].machine, servers[2].machine];
  const run = new GuideRun(placesOf('etcd', servers));
  runs.push(run);
  await run.follow(t, INSTALL);
  two.copyIn(next.rpm, `/root/${basename(next.rpm)}`);
  await run.follow(t, UPGRADE);
  await removeContainers(two, three);
  await run.follow(t, REMOVE, ['A Docker host']);
});

test('no line of these guides is left out without a reason', { skip }, (t) => {
  if (runs.length < VARIANTS || runs.some(({ failed }) => failed))
    return t.skip('a guide has a mistake already');
  assert.deepEqual(notExecuted(GUIDES, runs), []);
  assert.deepEqual(reasonsNotToRun(GUIDES), {
    'needs ssh from one server to the others': 1,
    "the test's packages are made by the same script": 1,
    'the test copies the same files without ssh': 1,
    "it needs the checkout's address and npm; all other tests run a checkout": 1,
    "the test's machines have systemd; test/e2e/seed-scenario.test.ts does this": 1,
  });
});

/** A release as a user finds it in root's home, signed with a key that is made here. */
async function downloads(t: TestContext, kind: 'deb' | 'rpm'): Promise<string[]> {
  const folder = scratchFolder(t);
  const [key, sums, signers] = ['key', 'SHA256SUMS', 'release-signers'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  copyFileSync(join(now.folder, basename(sums)), sums);
  execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-f', key]);
  execFileSync('ssh-keygen', ['-q', '-Y', 'sign', '-n', 'weft-release', '-f', key, sums]);
  writeFileSync(signers, `release@weft namespaces="weft-release" ${readFileSync(`${key}.pub`, 'utf8')}`);
  return [now[kind], sums, `${sums}.sig`, signers];
}

async function startServers(
  t: TestContext,
  underlay: Underlay,
  kinds: readonly ['deb' | 'rpm', 'deb' | 'rpm', 'deb' | 'rpm'],
): Promise<Servers> {
  const start = async (number: 0 | 1 | 2): Promise<Server> => {
    const kind = kinds[number];
    const layers = kind === 'rpm' ? [rhelLikeLayer()] : [];
    const machine = await CleanMachine.start(t, { name: `server-${number + 1}`, number, underlay, layers });
    for (const path of await downloads(t, kind)) machine.copyIn(path, `/root/${basename(path)}`);
    await machine.script(BUSYBOX_IMAGE);
    return { machine, system: kind === 'rpm' ? 'Fedora, RHEL or their like' : 'Debian or Ubuntu' };
  };
  return Promise.all([start(0), start(1), start(2)]);
}

/** Three etcds on one machine, each at an address of its own: 172.16.70.187 to .189. */
async function startEtcds(t: TestContext, underlay: Underlay): Promise<void> {
  const machine = await CleanMachine.start(t, { name: 'etcds', number: -1, underlay });
  const addresses = ['187', '188', '189'].map((byte) => `172.16.70.${byte}`);
  const cluster = addresses.map((it) => `${it}=http://${it}:2380`).join(',');
  for (const it of addresses) {
    if (it !== machine.address) await machine.must(['ip', 'address', 'add', `${it}/16`, 'dev', 'eth0']);
    const [client, peer] = [`http://${it}:2379`, `http://${it}:2380`];
    await machine.must([
      ...[
        'systemd-run',
        'etcd',
        `--name=${it}`,
        `--data-dir=/var/lib/etcd/${it}`,
        `--initial-cluster=${cluster}`,
      ],
      ...[`--listen-client-urls=${client}`, `--advertise-client-urls=${client}`],
      ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`],
    ]);
  }
}

/** Docker waits ten seconds for each at its stop: their programs do not mind SIGTERM. */
async function removeContainers(two: CleanMachine, three: CleanMachine): Promise<void> {
  await two.run(['docker', 'rm', '--force', 'client']);
  await three.run(['docker', 'rm', '--force', 'web']);
}
