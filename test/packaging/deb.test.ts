import assert from 'node:assert/strict';
import { existsSync, readlinkSync } from 'node:fs';
import { inRepository } from '../support/flanneld.ts';
import type { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines } from '../support/machine/debian-root.ts';
import {
  buildImage,
  containerOn,
  type MachineContainer,
  runWeb,
} from '../support/machine/docker-on-machine.ts';
import { changesBetween, type MachineState, machineState } from '../support/machine/machine-state.ts';
import { APT } from '../support/machine/package-manager.ts';
import {
  assertConnected,
  exchange,
  isReady,
  PREFIX,
  replaced,
  SETTINGS,
  STORE,
  startEtcd,
  startServers,
  story,
  subnetEnv,
  subnetOn,
  withoutLoss,
  writeSettings,
} from '../support/machine/seed-servers.ts';
import { builtPackages, noPackages } from '../support/packages.ts';
import { wholeFile } from '../support/test-lab.ts';

/*
 * The life of the Debian package on the seed's three servers, each with a clean Debian and nothing of the checkout:
 *
 *     underlay 172.16.70.1 ─┬─ .190 server-1   etcd
 *                           ├─ .191 server-2   weft, Docker ── docker0 10.0.A.1 ── web
 *                           └─ .192 server-3   weft, Docker ── docker0 10.0.B.1 ── web
 *
 * While a package changes, web on server-2 sends 200 packets a second to web on server-3, and numbers over one TCP
 * connection.
 */
const skip = cannotStartMachines() || noPackages();
const step = story(skip);
const NEXT = '0.1.1';

let one: CleanMachine;
let two: CleanMachine;
let three: CleanMachine;
let hosts: readonly CleanMachine[];
let before: MachineState;
let webs: readonly [MachineContainer, MachineContainer];
let subnets: string[];
let now: string;
let next: string;

wholeFile(skip, async (owner) => {
  now = (await builtPackages()).deb;
  next = (await builtPackages({ version: NEXT })).deb;
  [one, two, three] = (await startServers(owner)) as [CleanMachine, CleanMachine, CleanMachine];
  hosts = [two, three];
});

const onHosts = <T>(act: (machine: CleanMachine) => Promise<T>): Promise<T[]> => Promise.all(hosts.map(act));

step('etcd has the seed’s config', async () => {
  await startEtcd(one);
  before = await machineState(two);
});

step('an installation starts nothing and leaves Docker alone', async () => {
  await onHosts(async (machine) => {
    const docker = await machine.unit('docker', 'MainPID');
    const said = await APT.install(machine, now);
    assert.match(said, /^weft: write etcd's address into \/etc\/weft\/flanneld\.conf$/m);
    assert.equal(await APT.version(machine), '0.1.0');
    assert.equal((await machine.run(['systemctl', 'is-enabled', 'flanneld'])).stdout, 'disabled\n');
    for (const unit of ['flanneld', 'weft-store', 'weft-docker.socket'])
      assert.equal(await machine.unit(unit, 'ActiveState'), 'inactive', unit);
    assert.equal(await machine.unit('docker', 'MainPID'), docker);
    assert.doesNotMatch(await machine.must(['systemctl', 'cat', 'docker']), /flannel/);
    assert.equal(await machine.must(['stat', '-c', '%a %U', SETTINGS]), '600 root\n');
    assert.equal(existsSync(machine.path(inRepository('package.json'))), false);
  });
});

step('with the seed’s settings flanneld runs, and Docker is on its subnet', async () => {
  subnets = await onHosts(async (machine) => {
    await writeSettings(machine);
    await machine.script('systemctl enable --now flanneld; systemctl restart docker');
    await isReady(machine);
    const subnet = subnetOn(machine);
    assert.equal(machine.read('/run/flannel/subnet.env'), subnetEnv(subnet));
    const [bridge] = await machine.ip(['addr', 'show', 'docker0']);
    assert.equal(bridge?.addr_info?.[0]?.local, `${subnet}.1`);
    const format = '{{(index .IPAM.Config 0).Subnet}} {{index .Options "com.docker.network.driver.mtu"}}';
    const said = await machine.must(['docker', 'network', 'inspect', 'bridge', '--format', format]);
    assert.equal(said, `${subnet}.0/24 1450\n`);
    const program = readlinkSync(machine.path(`/proc/${await machine.unit('flanneld', 'MainPID')}/exe`));
    assert.equal(program, '/usr/bin/weft');
    return subnet;
  });
  const listed = await one.script(
    `ETCDCTL_API=2 etcdctl --endpoint ${STORE} ls flannel-vxlan/network/subnets`,
  );
  assert.deepEqual(
    listed.trim().split('\n').sort(),
    subnets.map((subnet) => `${PREFIX}/subnets/${subnet}.0-24`).sort(),
  );
});

step('containers reach each other, with whole packets and their own addresses', async () => {
  const [first, second] = await onHosts(async (machine) => {
    await buildImage(machine);
    return runWeb(machine, 'web', ['--restart=always']);
  });
  assert.ok(first && second);
  webs = [first, second];
  assert.deepEqual(
    webs.map(({ address }) => address),
    subnets.map((subnet) => `${subnet}.2`),
  );
  await assertConnected(webs);
});

step('an upgrade under traffic loses no packet, and keeps what a user changed', async () => {
  const comment = '# a line of the user';
  const changed = [SETTINGS, '/etc/sysctl.d/60-weft.conf', '/etc/modules-load.d/weft.conf'];
  await onHosts((machine) => machine.script(`echo '${comment}' | tee -a ${changed.join(' ')}`));
  await withoutLoss(webs, async () => {
    for (const machine of hosts) await exchange(APT, machine, next);
  });
  for (const machine of hosts) {
    assert.equal(await APT.version(machine), NEXT);
    for (const file of changed) assert.ok(machine.read(file).endsWith(`${comment}\n`), file);
    assert.equal(await machine.script('find /etc -name "*.dpkg-*"'), '');
  }
});

step('the same package once more is nothing to do, and by force loses no packet', async () => {
  const pid = await two.unit('flanneld', 'MainPID');
  assert.match(await APT.install(two, next), /0 upgraded, 0 newly installed, 0 to remove/);
  assert.equal(await two.unit('flanneld', 'MainPID'), pid);
  await withoutLoss(webs, () => exchange(APT, two, next, 'again'));
});

step('a downgrade under traffic loses no packet', async () => {
  await withoutLoss(webs, async () => {
    for (const machine of hosts) await exchange(APT, machine, now, 'older');
  });
});

step('an upgrade while etcd is down loses no packet', async () => {
  await one.must(['systemctl', 'stop', 'etcd']);
  await withoutLoss(webs, async () => {
    await replaced(two, () => APT.install(two, next));
    await one.must(['systemctl', 'start', 'etcd']);
    await isReady(two);
  });
});

step(
  'after a reboot without etcd flanneld is first, and Docker and its containers are as before',
  async () => {
    await one.must(['systemctl', 'stop', 'etcd']);
    await three.reboot();
    assert.equal(await three.must(['systemctl', '--failed', '--quiet', '--plain']), '');
    assert.equal(three.read('/run/flannel/subnet.env'), subnetEnv(subnets[1] ?? ''));
    const at = async (unit: string, property: string) =>
      Number(await three.unit(unit, `${property}TimestampMonotonic`));
    const [ready, docker] = [await at('flanneld', 'ActiveEnter'), await at('docker', 'InactiveExit')];
    assert.ok(ready > 0 && ready < docker, `flanneld is ready at ${ready}, Docker starts at ${docker}`);
    webs = [webs[0], await containerOn(three)];
    assert.equal(webs[1].address, `${subnets[1]}.2`);
    await assertConnected(webs);
    await one.must(['systemctl', 'start', 'etcd']);
    await isReady(three);
  },
);

step('a removal leaves the traffic, and Docker starts without our options', async () => {
  await withoutLoss(webs, async () => {
    await APT.remove(two);
  });
  assert.equal(await APT.version(two), undefined);
  assert.equal((await two.run(['sh', '-c', 'command -v flanneld weft mk-docker-opts'])).stdout, '');
  await restartDocker();
  assert.doesNotMatch(await two.must(['systemctl', 'cat', 'docker']), /flannel/);
  assert.doesNotMatch(await two.must(['ps', '-C', 'dockerd', '-o', 'args=']), /--bip/);
});

step('a new installation has the settings and the subnet of before', async () => {
  await APT.install(two, now);
  await two.must(['systemctl', 'enable', '--now', 'flanneld']);
  await restartDocker();
  await isReady(two);
  assert.equal(two.read('/run/flannel/subnet.env'), subnetEnv(subnets[0] ?? ''));
  webs = [await containerOn(two), webs[1]];
  await assertConnected(webs);
});

step('a purge leaves nothing', async () => {
  await two.must(['docker', 'rm', '--force', 'web']);
  await two.must(['apt-get', 'purge', '--yes', 'weft']);
  // Docker keeps the subnet that it had until it is given another one, once.
  two.write('/etc/docker/daemon.json', '{"bip":"172.17.0.1/16"}');
  await restartDocker();
  await two.must(['rm', '/etc/docker/daemon.json']);
  await restartDocker();
  assert.deepEqual(changesBetween(before, await machineState(two)), []);
});

/** Docker's unit is not started more than three times a minute. */
const restartDocker = (): Promise<string> =>
  two.script('systemctl reset-failed docker; systemctl restart docker');
