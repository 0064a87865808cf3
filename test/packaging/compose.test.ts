import assert from 'node:assert/strict';
import { basename } from 'node:path';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { composePlugin } from '../support/docker-compose.ts';
import { inRepository } from '../support/flanneld.ts';
import { readGuide } from '../support/guide.ts';
import { GuideRun, notExecuted } from '../support/guide-run.ts';
import { builtImage } from '../support/image.ts';
import { CleanMachine } from '../support/machine/clean-machine.ts';
import { cannotStartMachines } from '../support/machine/debian-root.ts';
import { Underlay } from '../support/machine/underlay.ts';

/*
 * The guide on the image, typed as it is written, on machines that have Docker and its compose plugin and nothing else:
 *
 *     172.16.70.190 Server_1   store, flanneld, dockerd ── docker0 ── client
 *     172.16.70.191 Server_2   flanneld, dockerd ── docker0 ── web
 */
const compose = composePlugin();
const skip = cannotStartMachines() || compose.skip;
const GUIDE = readGuide('image.md');
const PLUGIN = 'cli-plugins/docker-compose';

/** In place of the registry, from which a user's Docker takes this image. */
const BUSYBOX_IMAGE = `
mkdir -p /tmp/image/bin
cp /bin/busybox /tmp/image/bin
/tmp/image/bin/busybox --install /tmp/image/bin
tar -c -C /tmp/image . | docker import - busybox
rm -r /tmp/image`;

test('the image by compose: from nothing to the ping, a boot, an upgrade, nothing again', {
  skip,
  timeout: 420_000,
}, async (t) => {
  const files = [(await builtImage()).archive, (await builtImage({ version: '0.1.1' })).archive];
  const underlay = await Underlay.make(t);
  const start = async (number: number): Promise<CleanMachine> => {
    const machine = await CleanMachine.start(t, { name: `server-${number + 1}`, number, underlay });
    for (const path of [...files, inRepository('packaging/compose.yaml')])
      machine.copyIn(path, `/root/${basename(path)}`);
    machine.copyIn(`${compose.folder}/${PLUGIN}`, `/usr/local/lib/docker/${PLUGIN}`);
    await machine.script(BUSYBOX_IMAGE);
    return machine;
  };
  const [one, two] = (await Promise.all([start(0), start(1)])) as [CleanMachine, CleanMachine];
  const places: Readonly<Record<string, readonly CleanMachine[]>> = {
    'every server': [one, two],
    Server_1: [one],
    Server_2: [two],
  };
  const run = new GuideRun((place) => places[place]);
  const address = () => two.must(['docker', 'inspect', '-f', '{{.NetworkSettings.IPAddress}}', 'web']);

  await run.follow(t, GUIDE, [
    'Two servers with Docker, and no etcd',
    "Docker's subnet",
    'See that it works',
  ]);

  await t.test('after a boot Docker has the same subnet, and flanneld comes back by itself', async () => {
    const [before, subnet] = [await address(), two.read('/run/flannel/subnet.env')];
    await two.reboot();
    assert.equal(await address(), before);
    await until(
      async () =>
        (await one.run(['docker', 'run', '--rm', 'busybox', 'ping', '-c1', '-w2', before.trim()])).code === 0,
      {
        what: 'ping after the boot',
        timeoutMs: 60_000,
      },
    );
    assert.equal(two.read('/run/flannel/subnet.env'), subnet);
  });

  await run.follow(t, GUIDE, ['Upgrade', 'Remove']);

  await t.test('nothing is left', async () => {
    for (const machine of [one, two]) {
      const left = await machine.script(
        'ip -br link; ip route; iptables-save; docker ps -aq --filter label=com.docker.compose.project; docker volume ls -q',
      );
      assert.doesNotMatch(left, /flannel|weft/i);
      assert.match(left, /172\.17\.0\.0\/16/);
    }
  });
  assert.deepEqual(notExecuted([GUIDE], [run]), []);
});
