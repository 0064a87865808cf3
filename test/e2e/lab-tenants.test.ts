import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { firstInPath } from '#src/lab/docker.ts';
import { LAB_ROOT } from '#src/lab/lab.ts';
import { systemCommands } from '#src/sys/command.ts';
import { dockerEngines } from '../support/docker-engines.ts';
import { WEFT } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * `weft lab up --docker --network red …` as an operator types it:
 *
 *     h1 .191  c1   red-h1   blue-h1   …
 *     h2 .192  c1   red-h2   blue-h2   …
 */
const skip = cannotRun('dockerd', 'docker', 'busybox', 'ping', 'nft', 'tcpdump');
const { debian, iptables } = dockerEngines();

/** With the dockerd of this folder, or the first one in PATH. */
const weft = (words: readonly string[], programs?: string) =>
  systemCommands.run([...firstInPath(programs), WEFT, 'lab', ...words] as [string, ...string[]], {
    timeoutMs: 240_000,
  });

let made = 0;
/** A name for a lab of one test, which is taken down at its end. */
function newName(t: TestContext): string {
  const name = `t${process.pid}n${++made}`;
  t.after(() => weft(['down', `--name=${name}`]));
  return name;
}

interface HostStatus {
  readonly name: string;
  readonly containers: readonly { name: string; address: string; network?: string }[];
}

for (const [store, engine] of [
  ['embedded', debian],
  ['etcd', debian],
  ['embedded', iptables],
] as const) {
  const why = skip || engine.skip || (store === 'etcd' && cannotRun('etcd', 'etcdctl'));
  test(`networks of one subnet and of two are made, and are isolated: ${store}, ${engine.called}`, {
    skip: why,
  }, async (t) => {
    const name = newName(t);
    const networks = ['--network=red', '--network', 'blue', '--network=green=10.6.0.0/28'];
    const up = await weft(
      ['up', `--name=${name}`, '--docker', `--store=${store}`, ...networks],
      engine.programs,
    );
    assert.equal(up.code, 0, up.stderr);
    assert.match(up.stderr, /^networks red, blue, green, and their containers$/m);

    const status = JSON.parse((await weft(['status', `--name=${name}`, '--json'])).stdout) as HostStatus[];
    const of = (network: string | undefined) =>
      status
        .flatMap(({ containers }) => containers)
        .filter((it) => it.network === network)
        .map((it) => `${it.name} ${it.address}`);
    assert.deepEqual(of('red'), ['h1/red-h1 10.5.0.11', 'h2/red-h2 10.5.0.12']);
    assert.deepEqual(of('blue'), ['h1/blue-h1 10.5.0.11', 'h2/blue-h2 10.5.0.12']);
    assert.deepEqual(of('green'), ['h1/green-h1 10.6.0.11', 'h2/green-h2 10.6.0.12']);
    assert.equal(of(undefined).length, 2);
    assert.match((await weft(['status', `--name=${name}`])).stdout, /^ {2}h2\/blue-h2 +10\.5\.0\.12 +blue$/m);

    const ping = await weft(['ping', `--name=${name}`]);
    assert.equal(ping.code, 0, ping.stdout);
    assert.match(ping.stdout, /^h1\/red-h1 -> h2\/red-h2 {2}[\d.]+ ms$/m);
    assert.match(ping.stdout, /^8 of 8 answered$/m);
    // Two each way, and two for addresses that only the other one has.
    assert.match(ping.stdout, /^from red to blue: 0 of 4 arrived$/m);
    assert.match(ping.stdout, /^from blue to green: 0 of 4 arrived$/m);
    const some = await weft(['ping', `--name=${name}`, '--json', 'flannel']);
    assert.deepEqual((JSON.parse(some.stdout) as { from: string }[]).map(({ from }) => from).sort(), [
      'h1/c1',
      'h2/c1',
    ]);

    const walk = await weft(['walk', `--name=${name}`, 'h1/blue-h1', 'h2/blue-h2']);
    assert.equal(walk.code, 0, walk.stdout);
    const macs = 'Ethernet +02:42:0a:05:00:0b > 02:42:0a:05:00:0c ';
    const addresses = 'IP +10\\.5\\.0\\.11 > 10\\.5\\.0\\.12 ';
    assert.match(walk.stdout, new RegExp(`> 8473\n.*VNI\\) \\d+\n +${macs}.*\n +${addresses}`));
    assert.match(walk.stdout, /^6\. h2: .*\n(.*\n)+ {5}ping 10\.5\.0\.12: answered in [\d.]+ ms$/m);
    const astray = await weft(['walk', `--name=${name}`, 'h1/blue-h1', 'h2/red-h2']);
    assert.match(
      astray.stderr,
      /no way from h1\/blue-h1 to h2\/red-h2; they are in the networks blue and red/,
    );

    const inside = await weft([
      'exec',
      `--name=${name}`,
      'h2/green-h2',
      '--',
      'ip',
      '-br',
      'addr',
      'show',
      'eth0',
    ]);
    assert.match(inside.stdout, / 10\.6\.0\.12\/28 /);
    const unknown = await weft(['ping', `--name=${name}`, 'yellow']);
    assert.match(unknown.stderr, /no containers in a network yellow; choose from flannel, blue, green, red/);

    const down = await weft(['down', `--name=${name}`]);
    assert.equal(down.code, 0, down.stderr);
    assert.equal(existsSync(`${LAB_ROOT}/${name}`), false);
    assert.deepEqual(
      readdirSync('/run/netns').filter((it) => it.startsWith(`weft-${name}-`)),
      [],
    );
  });
}

test('containers that are not isolated are found', { skip }, async (t) => {
  const name = newName(t);
  const up = await weft(['up', `--name=${name}`, '--docker', '--network=red', '--network=blue=10.6.0.0/24']);
  assert.equal(up.code, 0, up.stderr);
  const connect = ['docker', 'network', 'connect', 'blue', 'red-h1'];
  assert.equal((await weft(['exec', `--name=${name}`, 'h1', '--', ...connect])).code, 0);
  const ping = await weft(['ping', `--name=${name}`, 'red', 'blue']);
  assert.equal(ping.code, 1);
  assert.match(ping.stdout, /^4 of 4 answered$/m);
  assert.match(ping.stdout, /^from red to blue: 2 of 4 arrived$/m);
});

test('networks need Docker, and room for the hosts', { skip }, async (t) => {
  const name = newName(t);
  const refused = async (...flags: string[]) => {
    const { code, stderr } = await weft(['up', `--name=${name}`, '--hosts=1', ...flags]);
    assert.equal(code, 1);
    return stderr.trim().split('\n').at(-1) ?? '';
  };
  assert.match(
    await refused('--network=red'),
    /a network of Docker's, and the lab has no Docker; add --docker$/,
  );
  assert.match(
    await refused('--docker', '--network=red=10.5.0.0/29'),
    /"red=10\.5\.0\.0\/29": 10\.5\.0\.0\/29 is too small for 1 hosts; use a larger subnet$/,
  );
});
