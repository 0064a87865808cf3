import assert from 'node:assert/strict';
import type { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartRhelLike, rhelLikeLayer } from '../support/machine/debian-root.ts';
import {
  buildImage,
  containerOn,
  type MachineContainer,
  runWeb,
} from '../support/machine/docker-on-machine.ts';
import { installByHand, installFlannelRpm } from '../support/machine/installed-flannel.ts';
import { APT, DNF } from '../support/machine/package-manager.ts';
import {
  assertConnected,
  isReady,
  SETTINGS,
  startEtcd,
  startServers,
  story,
  subnetEnv,
  subnetOn,
  withoutLoss,
} from '../support/machine/seed-servers.ts';
import { builtPackages, noPackages } from '../support/packages.ts';
import { wholeFile } from '../support/test-lab.ts';

/*
 * The packages in the place of an installed flannel, which goes on until its successor runs:
 *
 *     underlay 172.16.70.1 ─┬─ .190 server-1   etcd
 *                           ├─ .191 server-2   Debian: a flannel by hand, in /usr/local/bin ── docker0 ── web
 *                           └─ .192 server-3   RHEL-like: flannel's rpm of CentOS 7         ── docker0 ── web
 *
 * WEFT_PEER_FLANNELD gives a real flannel v0.9.1. Without it a script does what that does (installed-flannel.ts).
 */
const skip = cannotStartRhelLike() || noPackages();
const step = story(skip);

let one: CleanMachine;
let two: CleanMachine;
let three: CleanMachine;
let webs: readonly [MachineContainer, MachineContainer];
let packages: Awaited<ReturnType<typeof builtPackages>>;

wholeFile(skip, async (owner) => {
  packages = await builtPackages();
  [one, two, three] = (await startServers(owner, [[], [], [rhelLikeLayer()]])) as [
    CleanMachine,
    CleanMachine,
    CleanMachine,
  ];
});

/** What a successor has to keep: the device and its MAC, the subnet, the Docker that runs. */
async function kept(machine: CleanMachine): Promise<unknown> {
  const [device] = await machine.ip(['link', 'show', 'flannel.1']);
  return [device?.ifindex, device?.address, subnetOn(machine), await machine.unit('docker', 'MainPID')];
}

const settingsOn = (machine: CleanMachine): string[] =>
  machine
    .read(SETTINGS)
    .split('\n')
    .filter((line) => /^FLANNELD_/.test(line));

const expectedSettings = (machine: CleanMachine): string[] => [
  'FLANNELD_ETCD_ENDPOINTS=http://172.16.70.190:2379',
  'FLANNELD_ETCD_PREFIX=/flannel-vxlan/network',
  `FLANNELD_IFACE=${machine.address}`,
  'FLANNELD_IP_MASQ=true',
  'FLANNELD_OPTIONS=',
];

step('containers of two hosts with flannel reach each other', async () => {
  await startEtcd(one);
  await Promise.all([installByHand(two), installFlannelRpm(three)]);
  const [first, second] = await Promise.all(
    [two, three].map(async (machine) => {
      await buildImage(machine);
      return runWeb(machine);
    }),
  );
  assert.ok(first && second);
  webs = [first, second];
  await assertConnected(webs);
});

step('the deb takes over a flannel by hand, and no packet is lost', async () => {
  const before = await kept(two);
  await withoutLoss(webs, async () => {
    const said = await APT.install(two, packages.deb);
    assert.match(said, /^weft: \/etc\/weft\/flanneld\.conf has the settings of this host's flannel/m);
    assert.match(said, /^weft: \/etc\/systemd\/system\/flanneld\.service is used in place of the package's/m);
    assert.match(said, /^weft: \/usr\/local\/bin\/flanneld is used in place of the package's/m);
    assert.deepEqual(settingsOn(two), expectedSettings(two));
    assert.equal(await two.unit('flanneld', 'ActiveState'), 'active', 'flannel has ended');
    await two.script(`
      systemctl disable --now flanneld
      rm /etc/systemd/system/flanneld.service /usr/local/bin/flanneld /usr/local/bin/mk-docker-opts.sh
      systemctl daemon-reload
      systemctl enable --now flanneld`);
    await isReady(two);
  });
  assert.deepEqual(await kept(two), before);
});

step('the rpm takes the place of flannel’s rpm, and no packet is lost', async () => {
  const before = await kept(three);
  await withoutLoss(webs, async () => {
    const said = await DNF.install(three, packages.rpm);
    assert.match(said, /^weft: \/etc\/weft\/flanneld\.conf has the settings of this host's flannel/m);
    assert.deepEqual(settingsOn(three), expectedSettings(three));
    assert.equal((await three.run(['rpm', '--query', 'flannel'])).code, 1);
    await three.must(['systemctl', 'enable', '--now', 'flanneld']);
    await isReady(three);
  });
  assert.deepEqual(await kept(three), before);
});

step('Docker starts with the same subnet on both', async () => {
  await Promise.all(
    [two, three].map(async (machine) => {
      const subnet = subnetOn(machine);
      await machine.script('docker rm --force web; systemctl restart docker');
      await runWeb(machine);
      assert.equal(machine.read('/run/flannel/subnet.env'), subnetEnv(subnet));
      assert.match(
        await machine.must(['ps', '-C', 'dockerd', '-o', 'args=']),
        new RegExp(`--bip=${subnet}.1/24 `),
      );
    }),
  );
  webs = [await containerOn(two), await containerOn(three)];
  await assertConnected(webs);
});
