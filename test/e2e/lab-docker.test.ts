import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Capture } from '#src/lab/capture.ts';
import { makeBridge, makeContainer } from '#src/lab/container.ts';
import { Docker, firstInPath } from '#src/lab/docker.ts';
import { callerSeenBy, serveCaller, Traffic, untilListening } from '#src/lab/traffic.ts';
import { systemCommands } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { WEFT } from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

test('a dockerd that was killed leaves nothing when its lab goes', {
  skip: cannotRun('dockerd', 'docker', 'busybox'),
}, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host);
  const docker = await Docker.start(host, { options: ['--bip=10.0.1.1/24'], cgroup: lab.cgroup });
  await docker.buildImage();
  await docker.run('web');
  await docker.kill();
  // The container's layers and namespace are still mounted, as on a host with one mount namespace.
  assert.match(await host.must(['findmnt', '-rno', 'TARGET']), /\/run\/docker\/netns\/\w/);
  await docker.startAgain();
  await docker.must(['start', 'web']);
  assert.match(await docker.exec('web', ['ip', 'route']), /^default via 10\.0\.1\.1 dev eth0/);
  docker.daemon.kill('SIGKILL');
  await lab.down();
  assert.equal(existsSync(lab.folder), false);
});

test('Docker runs containers on two hosts of one machine', {
  skip: cannotRun('dockerd', 'docker', 'busybox'),
}, async (t) => {
  const lab = await testLab(t, { hosts: 2 });
  const dockers = await Promise.all(
    lab.hosts.map((host, n) =>
      Docker.start(host, { options: [`--bip=10.0.${n}.1/24`, '--mtu=1450'], cgroup: lab.cgroup }),
    ),
  );
  for (const [n, docker] of dockers.entries()) {
    await docker.buildImage();
    const container = await docker.run('web', ['httpd', '-f', '-p', '0.0.0.0:8080', '-h', '/www']);
    assert.equal(container.address, `10.0.${n}.2`);
    assert.match(
      await docker.exec('web', ['ip', 'route']),
      new RegExp(`^default via 10\\.0\\.${n}\\.1 dev eth0`),
    );
    await untilListening(container);
    assert.equal(await callerSeenBy(docker.host, container.address), `10.0.${n}.1`);
    assert.deepEqual((await docker.must(['ps', '--format', '{{.Names}}'])).trim(), 'web');
    // What dockerd mounted, other programs of the host find.
    const format = '--format={{.NetworkSettings.SandboxKey}}';
    const sandbox = (await docker.must(['inspect', format, 'web'])).trim();
    const inside = `--net=${sandbox}`;
    assert.match(await docker.host.must(['nsenter', inside, 'ip', '-4', 'addr']), /inet 10\.0\.\d\.2\/24/);
  }
});

const { debian, iptables } = dockerEngines();
for (const engine of [debian, iptables]) {
  test(`weft lab up --docker takes the dockerd in PATH: ${engine.called}`, {
    skip: cannotRun('dockerd', 'docker', 'busybox', 'ping') || engine.skip,
  }, async (t) => {
    const name = `t${process.pid}up`;
    const run = (words: string[]) =>
      systemCommands.run([...firstInPath(engine.programs), ...words] as [string, ...string[]], {
        timeoutMs: 240_000,
      });
    t.after(() => run([WEFT, 'lab', 'down', `--name=${name}`]));
    const up = await run([WEFT, 'lab', 'up', '--docker', `--name=${name}`]);
    assert.equal(up.code, 0, up.stderr);
    const { stdout } = await run([WEFT, 'lab', 'ping', `--name=${name}`]);
    assert.match(stdout, /^2 of 2 answered$/m);
  });
}

test('traffic, callers and captures show what went over a bridge', {
  skip: cannotRun('ping', 'busybox', 'tcpdump'),
}, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const [host] = lab.hosts;
  assert.ok(host);
  await makeBridge(host, { bip: '10.0.1.1/24', mtu: 1450 });
  const [c1, c2] = [await makeContainer(host, 'c1'), await makeContainer(host, 'c2')];
  const capture = await Capture.start(host, 'docker0', 'icmp');
  const traffic = await Traffic.start(c1, c2.address, { perSecond: 50 });
  await capture.waitFor(20);
  await host.batch(['link set veth-c2 down']);
  // Requests alone, of which some were on their way already. A busy machine sends fewer a second.
  await capture.waitFor((await capture.frames()).length + 30);
  const before = await traffic.received();
  await host.batch(['link set veth-c2 up']);
  await until(async () => (await traffic.received()) > before + 20, { what: 'answer after the gap' });
  const report = await traffic.stop();
  assert.ok(report.lost >= 20, JSON.stringify(report));
  // Twenty packets take ten times 20 ms at the least: the sender may send one at once after a late one.
  assert.ok(report.longestGapMs >= 200, JSON.stringify(report));
  await capture.stop();
  const [frame] = await capture.frames();
  assert.equal(frame?.readUInt16BE(12), 0x0800);
  assert.match(await capture.text(['-e']), /10\.0\.1\.2 > 10\.0\.1\.3: ICMP echo request/);
  const server = await serveCaller(c2);
  assert.equal(await callerSeenBy(c1, c2.address), c1.address);
  await server.stop();
});
