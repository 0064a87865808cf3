import assert from 'node:assert/strict';
import type { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartRhelLike, rhelLikeLayer } from '../support/machine/debian-root.ts';
import {
  buildImage,
  containerOn,
  type MachineContainer,
  runWeb,
} from '../support/machine/docker-on-machine.ts';
import { changesBetween, type MachineState, machineState } from '../support/machine/machine-state.ts';
import { DNF } from '../support/machine/package-manager.ts';
import {
  assertConnected,
  CONFIG,
  exchange,
  isReady,
  PREFIX,
  SETTINGS,
  STORE,
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
 * The life of the rpm, and of the store's unit, on the seed's three servers. They resemble a RHEL: script/rhel-like-root says
 * in what, and in what not.
 *
 *     underlay 172.16.70.1 ─┬─ .190 server-1   weft-store
 *                           ├─ .191 server-2   weft, Docker ── docker0 10.0.A.1 ── web
 *                           └─ .192 server-3   weft, Docker ── docker0 10.0.B.1 ── web
 *
 * While a package changes, web on server-2 sends 200 packets a second to web on server-3, and numbers over one TCP
 * connection.
 */
const skip = cannotStartRhelLike() || noPackages();
const step = story(skip);
const NEXT = '0.1.1';
const STORE_DATA = '/var/lib/private/weft-store/store.db';

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
  now = (await builtPackages()).rpm;
  next = (await builtPackages({ version: NEXT })).rpm;
  const layers = [rhelLikeLayer()];
  [one, two, three] = (await startServers(owner, [layers, layers, layers])) as [
    CleanMachine,
    CleanMachine,
    CleanMachine,
  ];
  hosts = [two, three];
});

const onHosts = <T>(act: (machine: CleanMachine) => Promise<T>): Promise<T[]> => Promise.all(hosts.map(act));
const weft = (words: string): Promise<string> => one.script(`weft ${words}`);

step('dnf installs it without a network, and nothing starts', async () => {
  before = await machineState(two);
  await Promise.all(
    [one, two, three].map(async (machine) => {
      await DNF.install(machine, now);
      assert.equal(await DNF.version(machine), '0.1.0');
      for (const unit of ['flanneld.service', 'weft-store.service', 'weft-docker.socket']) {
        assert.equal((await machine.run(['systemctl', 'is-enabled', unit])).stdout, 'disabled\n', unit);
        assert.equal(await machine.unit(unit, 'ActiveState'), 'inactive', unit);
      }
      assert.equal(await machine.must(['stat', '-c', '%a %U', SETTINGS]), '600 root\n');
      assert.equal(await machine.script('rpm --verify weft'), '');
    }),
  );
});

step('the store’s unit serves the hosts when its settings say so', async () => {
  await one.script(`
    sed -i '/^WEFT_STORE_LISTEN=/d' /etc/weft/store.conf
    echo 'WEFT_STORE_LISTEN=172.16.70.190:2379' >> /etc/weft/store.conf
    systemctl enable --now weft-store`);
  await weft(`store put --store=${STORE} ${PREFIX}/config '${CONFIG}'`);
  // A user that systemd makes for it: systemd.exec(5), DynamicUser=.
  const user = Number(await one.must(['stat', '-c', '%u', STORE_DATA]));
  assert.ok(user >= 61184 && user <= 65519, `the data is user ${user}'s`);
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
    return subnet;
  });
});

step('containers reach each other, with whole packets and their own addresses', async () => {
  const [first, second] = await onHosts(async (machine) => {
    await buildImage(machine);
    return runWeb(machine, 'web', ['--restart=always']);
  });
  assert.ok(first && second);
  webs = [first, second];
  await assertConnected(webs);
});

step('an upgrade under traffic loses no packet, and keeps what a user changed', async () => {
  const comment = '# a line of the user';
  const changed = [SETTINGS, '/etc/sysctl.d/60-weft.conf'];
  await onHosts((machine) => machine.script(`echo '${comment}' | tee -a ${changed.join(' ')}`));
  const store = await one.unit('weft-store', 'MainPID');
  await withoutLoss(webs, async () => {
    await DNF.install(one, next);
    for (const machine of hosts) await exchange(DNF, machine, next);
  });
  assert.notEqual(await one.unit('weft-store', 'MainPID'), store);
  for (const machine of hosts) {
    assert.equal(await DNF.version(machine), NEXT);
    for (const file of changed) assert.ok(machine.read(file).endsWith(`${comment}\n`), file);
    assert.equal(await machine.script('find /etc -name "*.rpmnew" -o -name "*.rpmsave"'), '');
    assert.equal((await machine.run(['systemctl', 'is-enabled', 'flanneld'])).stdout, 'enabled\n');
  }
});

step('a downgrade under traffic loses no packet', async () => {
  await withoutLoss(webs, () => exchange(DNF, two, now, 'older'));
});

step('the store and the hosts are back after a reboot', async () => {
  await Promise.all([one.reboot(), three.reboot()]);
  await isReady(three);
  assert.equal(three.read('/run/flannel/subnet.env'), subnetEnv(subnets[1] ?? ''));
  webs = [webs[0], await containerOn(three)];
  await assertConnected(webs);
});

step('a removal leaves the traffic and the store’s data', async () => {
  await withoutLoss(webs, async () => {
    await DNF.remove(two);
  });
  assert.equal(await DNF.version(two), undefined);
  await DNF.remove(one);
  assert.equal(await one.unit('weft-store', 'ActiveState'), 'inactive');
  await one.script(`sh /var/lib/weft/purge.sh; test -s ${STORE_DATA}`);
});

step('the purge script leaves nothing', async () => {
  await two.must(['docker', 'rm', '--force', 'web']);
  await two.must(['sh', '/var/lib/weft/purge.sh']);
  // Docker keeps the subnet that it had until it is given another one, once.
  two.write('/etc/docker/daemon.json', '{"bip":"172.17.0.1/16"}');
  await two.script(`
    systemctl reset-failed docker; systemctl restart docker
    rm /etc/docker/daemon.json
    systemctl reset-failed docker; systemctl restart docker`);
  assert.deepEqual(changesBetween(before, await machineState(two)), []);
});
