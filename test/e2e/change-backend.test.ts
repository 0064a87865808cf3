import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type ChangePhase, withoutPlan, withPhase, withPlan } from '#src/network/change-plan.ts';
import { progressOf } from '#src/network/change-progress.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import {
  assertNothingLost,
  assertPaths,
  change,
  configOf,
  pathsOf,
  putFlannel,
  ringOf,
  strict,
  waitForMtu,
  waitForSourceCheck,
} from '../support/changing-hosts.ts';
import { daemonLog, FLANNELD, PREFIX, readLease, STORES, startFlanneld } from '../support/flanneld.ts';
import { type Network, testNetwork } from '../support/network.ts';
import { apiSocketOf, PATIENT } from '../support/probes.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A network changes its backend under traffic. Each container pings the next one, each 5 ms:
 *
 *     store .190 etcd     h1 .191 flanneld ── c  →  h2 .192 flanneld ── c  →  …  →  h5 ── c  →  h1
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Owner":"x","Backend":{"Type":"vxlan"}}';

/** Listens once, and prints how many bytes came until the other end was done. */
const SINK = `require('node:net').createServer((socket) => {
  let count = 0;
  socket.on('data', (data) => (count += data.length));
  socket.on('end', () => console.log('received ' + count) || process.exit());
}).listen(9000, '0.0.0.0', () => console.log('listening'));`;
/** 20 kB each 20 ms until SIGTERM. */
const SOURCE = `const socket = require('node:net').connect(9000, process.argv[1], () => console.log('connected'));
const timer = setInterval(() => {
  socket.write(Buffer.alloc(20_000));
  if (socket.bytesWritten > 500_000 && socket.bytesWritten <= 520_000) console.log('under way');
}, 20);
socket.on('error', (error) => console.log(String(error)) || process.exit(1));
process.on('SIGTERM', () => {
  clearInterval(timer);
  console.log('sent ' + socket.bytesWritten);
  socket.end(() => process.exit());
});`;

/** One TCP connection from the first container to the second; all that is sent has to arrive. */
async function streamOf({ nodes: [one, two] }: Network): Promise<{ end(): Promise<void> }> {
  assert.ok(one && two);
  const server = await two.container.start('sink', [process.execPath, '-e', SINK]);
  await server.waitForLog(/listening/);
  const words = [process.execPath, '-e', SOURCE, two.container.address];
  const client = await one.container.start('source', words);
  await client.waitForLog(/connected/);
  return {
    async end() {
      // A change in place may be faster than the stream.
      await client.waitForLog(/under way/);
      client.kill('SIGTERM');
      await Promise.all([client.exited(), server.exited()]);
      const sent = Number(/sent (\d+)/.exec(await client.log())?.[1]);
      assert.ok(sent > 500_000, await client.log());
      assert.equal(Number(/received (\d+)/.exec(await server.log())?.[1]), sent);
    },
  };
}

const nodesOf = async (t: TestContext, hosts: number, api: 2 | 3 = 3): Promise<Network> => {
  const network = await testNetwork(t, {
    api,
    config: CONFIG,
    programs: Array.from({ length: hosts }, () => FLANNELD),
  });
  await strict(network.nodes.map(({ host }) => host));
  return network;
};

test('VNI 1 → 7 and another port on five hosts: nothing is lost', { skip }, async (t) => {
  const network = await nodesOf(t, 5);
  const ring = await ringOf(network);
  const stream = await streamOf(network);
  const { code, stdout, stderr } = await change(network, '--vni=7', '--port=4789');
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^done: every host uses the new path/m);
  await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  await assertNothingLost(ring);
  await stream.end();
  assert.equal(
    await configOf(network, 3),
    '{"Network":"10.0.0.0/16","SubnetLen":24,"Owner":"x","Backend":{"Type":"vxlan","VNI":7,"Port":4789}}',
  );
  for (const { host, subnet } of network.nodes) {
    const plain = /"BackendData":\{"VNI":7,"VtepMAC":"[^"]+"\},"Node":"[^"]+"\}$/;
    await until(async () => plain.test(await readLease(network.etcd, 3, subnet)), {
      what: `lease of ${subnet} without a change`,
    });
    assert.doesNotMatch(await daemonLog(host), /error|warning/i);
    // What was there before is there again.
    for (const device of ['eth0', 'flannel.7']) await waitForSourceCheck(host, device);
    assert.match(await host.must(['ip', '-d', 'link', 'show', 'flannel.7']), /vxlan id 7 .* dstport 4789/);
  }
});

test('vxlan → host-gw and back: nothing is lost, and a larger MTU comes at the end', { skip }, async (t) => {
  const network = await nodesOf(t, 3);
  const ring = await ringOf(network);
  const there = await change(network, '--backend=host-gw');
  assert.equal(there.code, 0, there.stdout + there.stderr);
  await assertPaths(network.nodes, ['routes by eth0']);
  for (const { host } of network.nodes) {
    await waitForMtu(host, 1500);
    await waitForSourceCheck(host, 'eth0');
  }
  const refused = await change(network, '--backend=vxlan', '--vni=9');
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /packets by the new path have to be 50 bytes smaller than now.*--accept-smaller-mtu/,
  );
  const back = await change(network, '--backend=vxlan', '--vni=9', '--accept-smaller-mtu');
  assert.equal(back.code, 0, back.stdout + back.stderr);
  await assertPaths(network.nodes, ['device flannel.9', 'routes by flannel.9']);
  for (const { host } of network.nodes) {
    await waitForMtu(host, 1450);
    await waitForSourceCheck(host, 'eth0');
  }
  await assertNothingLost(ring);
});

test('a host that is down, one that is killed, and one that the new path does not reach hold it up', {
  skip,
}, async (t) => {
  const network = await nodesOf(t, 3);
  const ring = await ringOf(network);
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);

  await t.test('a host that is down is named, and the change goes on when it is back', async () => {
    await (await two.host.daemon('flanneld'))?.stop();
    const held = await change(network, '--vni=7', '--port=4789', '--wait=4s');
    assert.equal(held.code, 3, held.stdout + held.stderr);
    assert.match(
      held.stdout,
      new RegExp(
        `prepare: 2 of 3 hosts are done; waiting for ${two.subnet}\\.0-24 \\(${two.host.address}\\): it has said nothing yet`,
      ),
    );
    await assertPaths([one, three], ['device flannel.1', 'device flannel.7', 'routes by flannel.1']);
    const other = await change(network, '--vni=8');
    assert.equal(other.code, 1);
    assert.match(other.stderr, /a change of this network is under way already/);
    // What comes by the new path is dropped there.
    await three.host.must([
      'nft',
      'add table ip t; add chain ip t in { type filter hook input priority 0; }; add rule ip t in udp dport 4789 drop',
    ]);
    await startFlanneld(two.host, two.flags);
  });

  await t.test('a peer that the new path does not reach keeps the old one, and is named', async () => {
    const held = await change(network, '--wait=12s');
    assert.equal(held.code, 3, held.stdout + held.stderr);
    assert.match(held.stdout, new RegExp(`moving: .*${three.subnet}\\.0-24: nothing passes by the new path`));
    const status = await change(network, '--status');
    assert.match(status.stdout, /moving, 1 of 2 peers/);
    assert.match(await one.host.must(['ip', 'route', 'show', `${three.subnet}.0/24`]), /dev flannel\.1 /);
    assert.match(await one.host.must(['ip', 'route', 'show', `${two.subnet}.0/24`]), /dev flannel\.7 /);
  });

  await t.test('a daemon that is killed in the middle takes part again', async () => {
    (await one.host.daemon('flanneld'))?.kill('SIGKILL');
    await (await one.host.daemon('flanneld'))?.exited();
    await startFlanneld(one.host, one.flags);
    await until(
      async () =>
        /dev flannel\.7 /.test(await one.host.must(['ip', 'route', 'show', `${two.subnet}.0/24`])) ||
        undefined,
      {
        what: 'move after the restart',
        timeoutMs: 20_000,
      },
    );
  });

  await t.test('an abort in the middle leads all back', async () => {
    const aborted = await change(network, '--abort');
    assert.equal(aborted.code, 0, aborted.stdout + aborted.stderr);
    await assertPaths(network.nodes, ['device flannel.1', 'routes by flannel.1']);
    assert.equal(await configOf(network, 3), CONFIG);
  });

  await t.test('once it passes, the change goes on to its end', async () => {
    await change(network, '--vni=7', '--port=4789', '--wait=4s');
    await three.host.must(['nft', 'delete table ip t']);
    const { code, stdout, stderr } = await change(network);
    assert.equal(code, 0, stdout + stderr);
    await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  });
  await assertNothingLost(ring);
});

test('a daemon that was killed just before the end drops the old path at its start', { skip }, async (t) => {
  const network = await nodesOf(t, 3);
  const [one, two, three] = network.nodes;
  assert.ok(one && two && three);
  const ring = await ringOf(network);
  const write = (text: string) => network.etcd.must(3, ['put', `${PREFIX}/config`], text);
  const done = (phase: ChangePhase) =>
    until(
      async () => {
        const listed = await network.etcd.must(3, ['get', '--prefix', `${PREFIX}/subnets/`]);
        const lines = listed.trim().split('\n');
        const leases = network.nodes.map(({ subnet }) => {
          const at = lines.findIndex((line) => line.endsWith(`/${subnet}.0-24`));
          return { name: `${subnet}.0-24`, value: lines[at + 1] ?? '' };
        });
        return progressOf({ id: 'a', phase }, leases).next;
      },
      { what: `end of phase ${phase}`, timeoutMs: 20_000 },
    );
  // The command's part, step by step.
  let text = withPlan(CONFIG, '{"Type":"vxlan","VNI":7}', { id: 'a', by: 'test', at: '' });
  await write(text);
  await done('prepare');
  // Any host says how far it is, once the others' leases have reached it.
  const change = await until(
    async () => {
      const status = await askApi(apiSocketOf(one), '/v1/status', PATIENT);
      return 'change' in status && status.change?.waits.length === 0 ? status.change : undefined;
    },
    { what: 'a status without anybody to wait for', timeoutMs: 20_000 },
  );
  assert.deepEqual(change, {
    ...{ id: 'a', phase: 'prepare', from: 'vxlan', to: 'vxlan', done: 2, of: 2, waits: [] },
  });
  for (const phase of ['moving', 'settling'] as const) {
    text = withPhase(text, phase);
    await write(text);
    await done(phase);
  }
  (await three.host.daemon('flanneld'))?.kill('SIGKILL');
  await (await three.host.daemon('flanneld'))?.exited();
  await write(withoutPlan(text));
  await assertPaths([one, two], ['device flannel.7', 'routes by flannel.7']);
  assert.deepEqual(await pathsOf(three.host), [
    'device flannel.1',
    'device flannel.7',
    'routes by flannel.7',
  ]);
  await startFlanneld(three.host, three.flags);
  await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
  await assertNothingLost(ring);
});

test('a host of flannel is refused by its name, and nothing is touched', { skip }, async (t) => {
  const network = await nodesOf(t, 2);
  await putFlannel(network);
  const refused = await change(network, '--vni=7');
  assert.equal(refused.code, 1);
  assert.match(
    refused.stderr,
    /these hosts run flannel, which can't have two paths at once: 172\.16\.70\.250 \(10\.0\.250\.0-24\)/,
  );
  assert.equal(await configOf(network, 3), CONFIG);
  assert.doesNotMatch(await network.etcd.must(3, ['get', '--prefix', PREFIX]), /Weft/);

  const rest: readonly [words: string[], why: RegExp][] = [
    [['--backend=carrier-pigeon'], /unknown backend type: carrier-pigeon/],
    [['--backend=vxlan', '--vni=1'], /the network has this backend already/],
    [['--option=GBP=true'], /both would be the device flannel\.1; choose another VNI or port as well/],
    [['--backend=alloc'], /backend alloc carries no packets of its own/],
    [['--vni=99999999'], /VNI must be between 0 and 16777215/],
    [['--backend=host-gw', '--vni=7'], /--vni is of backend vxlan/],
    [['--option=VNI'], /--option takes NAME=VALUE/],
    [[], /no change of this network is under way/],
    [['--abort'], /no change of this network is under way/],
  ];
  for (const [words, why] of rest) {
    const { code, stderr } = await change(network, ...words);
    assert.deepEqual([code, stderr.trim().split('\n').length], [1, 1], stderr);
    assert.match(stderr, why);
  }
});

for (const { api, kind, called } of STORES.filter(({ kind, api }) => kind === 'embedded' || api === 2))
  test(`a change over ${called}`, { skip }, async (t) => {
    const network = await testNetwork(t, { api, store: kind, config: CONFIG });
    const ring = await ringOf(network);
    const { code, stdout, stderr } = await change(network, '--vni=7');
    assert.equal(code, 0, stdout + stderr);
    await assertPaths(network.nodes, ['device flannel.7', 'routes by flannel.7']);
    await assertNothingLost(ring);
  });

test('an MTU changes in place, down and up: nothing is lost, and a stream goes on', { skip }, async (t) => {
  const network = await nodesOf(t, 2);
  const ring = await ringOf(network);
  const stream = await streamOf(network);
  const refused = await change(network, '--mtu=1400');
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /packets may have to be smaller than now.*--accept-smaller-mtu/);
  assert.equal(await configOf(network, 3), CONFIG);
  for (const [words, mtu] of [
    [['--mtu=1400', '--accept-smaller-mtu'], 1350],
    [['--mtu=1500'], 1450],
  ] as const) {
    const { code, stdout, stderr } = await change(network, ...words);
    assert.equal(code, 0, stdout + stderr);
    assert.match(stdout, /^changed MTU: every host does it in place$/m);
    for (const { host } of network.nodes) {
      const isSet = async () =>
        (await host.must(['ip', 'link', 'show', 'flannel.1'])).includes(`mtu ${mtu} `) &&
        ((await host.read('/run/flannel/subnet.env')) ?? '').includes(`FLANNEL_MTU=${mtu}\n`);
      await until(isSet, { what: `MTU of ${mtu} on ${host.name}` });
    }
  }
  await stream.end();
  await assertNothingLost(ring);
});
