import { test } from 'node:test';
import { readGuide } from '../support/guide.ts';
import { GuideRun } from '../support/guide-run.ts';
import { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines } from '../support/machine/debian-root.ts';
import { Underlay } from '../support/machine/underlay.ts';
import type { Owner } from '../support/test-lab.ts';

/*
 * The guides of docs/guides/ on installing, upgrading and removing, typed as they are written, on clean machines:
 *
 *     172.16.70.190 Server_1   weft-store or etcd
 *     172.16.70.191 Server_2   flanneld, dockerd ── docker0
 *     172.16.70.192 Server_3   flanneld, dockerd ── docker0 ── web
 */
const skip = cannotStartMachines();

/** In place of the registry, from which a user's Docker takes this image. */
const BUSYBOX_IMAGE = `
mkdir /tmp/image /tmp/image/bin
cp /bin/busybox /tmp/image/bin
for name in $(busybox --list); do [ $name = busybox ] || ln -s busybox /tmp/image/bin/$name; done
tar -c -C /tmp/image . | docker import - busybox
rm -r /tmp/image`;

async function servers(t: Owner, packages: readonly string[]): Promise<[CleanMachine, CleanMachine, CleanMachine]> {
  const underlay = await Underlay.make(t);
  const start = async (number: number): Promise<CleanMachine> => {
    const machine = await CleanMachine.start(t, { name: `Server-${number + 1}`, number, underlay });
    for (const path of packages) machine.copyIn(path, `/root/${path.split('/').at(-1)}`);
    await machine.script(BUSYBOX_IMAGE);
    return machine;
  };
  return Promise.all([start(0), start(1), start(2)]);
}

test('three servers with Debian and the store', { skip, timeout: 300_000 }, async (t) => {
  const [one, two, three] = await servers(t, ['/tmp/guide-standin/weft_0.1.0_amd64.deb', '/tmp/guide-standin/SHA256SUMS']);
  const all = [one, two, three];
  const run = new GuideRun({
    'every server': all,
    'every server with Debian or Ubuntu': all,
    'every server with Fedora, RHEL or their like': [],
    "Server_1, with weft's store": [one],
    'Server_1, with etcd': [],
    Server_2: [two],
    Server_3: [three],
    'Server_2 and Server_3': [two, three],
    'Server_2, with Debian or Ubuntu': [two],
    'Server_2, with Fedora, RHEL or their like': [],
    'Server_3, with Debian or Ubuntu': [three],
    'Server_3, with Fedora, RHEL or their like': [],
  });
  await run.follow(t, readGuide('three-servers.md'));
});
