import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import type { Owner } from '../test-lab.ts';
import { CleanMachine } from './clean-machine.ts';
import { containerOn, type MachineContainer } from './docker-on-machine.ts';
import type { PackageManager } from './package-manager.ts';
import { TcpStream } from './tcp-stream.ts';
import { Underlay } from './underlay.ts';

/** The seed's network. */
export const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
export const PREFIX = '/flannel-vxlan/network';
export const STORE = 'http://172.16.70.190:2379';
export const SETTINGS = '/etc/weft/flanneld.conf';

/** The seed's subnet.env, with a host's subnet: `10.0.65`. */
export const subnetEnv = (subnet: string): string =>
  `FLANNEL_NETWORK=10.0.0.0/16\nFLANNEL_SUBNET=${subnet}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`;

export const subnetOn = (machine: CleanMachine): string =>
  /^FLANNEL_SUBNET=(.+)\.1\/24$/m.exec(machine.read('/run/flannel/subnet.env'))?.[1] ?? '';

/** Boots three servers at once, each with these layers over the clean Debian. */
export async function startServers(
  owner: Owner,
  layers: readonly (readonly string[])[] = [[], [], []],
): Promise<CleanMachine[]> {
  const underlay = await Underlay.make(owner);
  return Promise.all(
    layers.map((layers, number) =>
      CleanMachine.start(owner, { name: `server-${number + 1}`, number, underlay, layers }),
    ),
  );
}

/** etcd as the seed has it, on its server, with the network's config in its API v2. */
export async function startEtcd(machine: CleanMachine): Promise<void> {
  machine.write(
    '/etc/default/etcd',
    `ETCD_LISTEN_CLIENT_URLS="${STORE}"\nETCD_ADVERTISE_CLIENT_URLS="${STORE}"\nETCD_ENABLE_V2="true"\n`,
  );
  machine.write('/root/flannel-vxlan.json', `${CONFIG}\n`);
  await machine.must(['systemctl', 'enable', '--now', 'etcd']);
  await machine.script(`
    export ETCDCTL_API=2
    etcdctl --endpoint ${STORE} cluster-health
    etcdctl --endpoint ${STORE} mkdir flannel-vxlan/network
    etcdctl --endpoint ${STORE} set flannel-vxlan/network/config < /root/flannel-vxlan.json`);
}

/** Writes the seed's settings as a user does: the lines of the example stay, but for etcd's address. */
export async function writeSettings(machine: CleanMachine): Promise<void> {
  await machine.script(`
    sed -i '/^FLANNELD_ETCD_ENDPOINTS=/d' ${SETTINGS}
    cat >> ${SETTINGS} <<END
FLANNELD_ETCD_ENDPOINTS=${STORE}
FLANNELD_ETCD_PREFIX=${PREFIX}
FLANNELD_IFACE=${machine.address}
END`);
}

export const isReady = (machine: CleanMachine): Promise<true> =>
  until(async () => (await machine.run(['weft', 'status'])).code === 0, {
    what: `ready flanneld on ${machine.name}`,
    timeoutMs: 60_000,
    signal: machine.signal,
  });

/** Does what replaces the program, and waits until the new one runs. */
export async function replaced(machine: CleanMachine, act: () => Promise<unknown>): Promise<void> {
  const old = await machine.unit('flanneld', 'MainPID');
  await act();
  await until(
    async () =>
      ![old, '0'].includes(await machine.unit('flanneld', 'MainPID')) &&
      (await machine.unit('flanneld', 'ActiveState')) === 'active',
    { what: `new flanneld on ${machine.name}`, timeoutMs: 60_000, signal: machine.signal },
  );
}

/** Installs another package over the installed one, until the new program is ready. */
export async function exchange(
  manager: PackageManager,
  machine: CleanMachine,
  ...[file, how]: [file: string, how?: 'again' | 'older']
): Promise<void> {
  await replaced(machine, () => manager.install(machine, file, how));
  await isReady(machine);
}

/**
 * Does something while one container sends 200 packets a second to another, and numbers over one TCP connection: no packet is
 * lost, the connection lives, and the containers are the same.
 */
export async function withoutLoss(
  [from, to]: readonly [MachineContainer, MachineContainer],
  act: () => Promise<void>,
): Promise<void> {
  const stream = await TcpStream.start(from, to);
  const traffic = await Traffic.start(from, to.address);
  let done = false;
  try {
    await act();
    done = true;
  } finally {
    const { lost, sent } = await traffic.stop();
    const { whole } = await stream.stop();
    // What went wrong in `act` says more.
    if (done) {
      assert.equal(lost, 0, `${lost} of ${sent} packets are lost`);
      assert.ok(whole, 'the TCP connection did not live to the end');
    }
  }
  for (const web of [from, to])
    assert.equal((await containerOn(web.machine, web.container)).pid, web.pid, `${web.name} is another one`);
}

/** Containers reach each other by ICMP and TCP, with packets of the overlay's whole size and their own addresses. */
export async function assertConnected(webs: readonly [MachineContainer, MachineContainer]): Promise<void> {
  const [one, two] = webs;
  for (const [here, there] of [webs, [two, one] as const]) {
    const exec = (...words: string[]) => here.machine.must(['docker', 'exec', 'web', ...words]);
    await exec('ping', '-c', '2', '-w', '10', there.address);
    const url = `http://${there.address}:8080/cgi-bin/caller`;
    assert.equal(await exec('timeout', '5', 'wget', '-q', '-O-', url), `${here.address}\n`);
    await here.must(['ping', '-n', '-c1', '-W5', '-M', 'do', '-s', String(1450 - 28), there.address]);
  }
}

/** The tests of a file as the steps of one story: after one that failed, the rest is skipped. */
export function story(skip: string | false): (name: string, body: () => Promise<void>) => void {
  let failed: string | undefined;
  return (name, body) => {
    test(name, { skip, timeout: 300_000 }, async (t) => {
      if (failed !== undefined) return t.skip(`"${failed}" failed`);
      try {
        await body();
      } catch (error) {
        failed = name;
        throw error;
      }
    });
  };
}
