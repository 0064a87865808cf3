import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, WEFT } from '../support/flanneld.ts';
import { type Network, type Node, pairOf, testNetwork } from '../support/network.ts';
import { untilAllUp } from '../support/probes.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 * The commands that show a network, on one that runs. In the end one flanneld is stopped.
 *
 *     store .190 embedded    h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 */
const skip = cannotRun('ping', 'script');

let network: Network;
let one: Node;
let two: Node;

wholeFile(skip, async (owner) => {
  network = await testNetwork(owner, { api: 3, store: 'embedded' });
  [one, two] = pairOf(network);
  for (const node of [one, two]) await untilAllUp(node, { peers: 1 });
});

const weft = (node: Node, ...words: string[]): Promise<CommandResult> => node.host.run([WEFT, ...words]);

/** Waits until a command prints what matches: probes and events take their time. */
const printed = (node: Node, words: readonly string[], pattern: RegExp): Promise<string> =>
  until(
    async () => {
      const { stdout } = await weft(node, ...words);
      return pattern.test(stdout) ? stdout : undefined;
    },
    { what: `${pattern} from weft ${words.join(' ')}`, timeoutMs: 30_000, signal: node.host.signal },
  );

const ESC = '\x1b';
/** To the alternate screen of a terminal, or back from it. */
const screenCode = (end: 'h' | 'l'): RegExp => new RegExp(`${ESC}\\[\\?1049${end}`);

const subnet = (node: Node): string => `${node.subnet}.0/24`;

test('weft status says that all is well, and its exit code too', { skip }, async () => {
  const { code, stdout } = await weft(one, 'status');
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^weft \S+, node \S+: ready$/m);
  assert.match(stdout, new RegExp(`^  subnet     ${subnet(one)} of 10.0.0.0/16 \\(vxlan, MTU 1450\\)$`, 'm'));
  const status = JSON.parse((await weft(one, 'status', '--json')).stdout);
  assert.equal(status.network.subnet, subnet(one));
});

test('weft peers shows the other host, and finds it by each of its names', { skip }, async () => {
  const { code, stdout } = await weft(one, 'peers');
  assert.equal(code, 0);
  assert.match(stdout, /^1 peer, /);
  assert.match(stdout, new RegExp(`^${subnet(two)} +${two.host.address} +vxlan +\\d+[smh]`, 'm'));
  for (const line of stdout.split('\n')) assert.ok(line.length <= 100 && !line.endsWith(' '), line);
  const { peers } = JSON.parse((await weft(one, 'peers', '--json')).stdout);
  assert.equal(peers.length, 1);
  for (const word of [two.container.address, subnet(two), two.host.address, peers[0].node])
    assert.equal((await weft(one, 'peers', word)).code, 0, word);
  assert.equal((await weft(one, 'peers', 'quarantined')).code, 1);
  assert.equal((await weft(one, 'peers', 'nonsense')).code, 2);
});

test('weft leases shows the whole network, and why a lease is not used', { skip }, async () => {
  const [key, value] = [`${PREFIX}/subnets/hello`, '{"PublicIP":"1.2.3.4"}'];
  await network.etcd.must(3, ['put', key], value);
  const text = await printed(one, ['leases'], /hello: its key is not a subnet/);
  assert.match(text, /^network 10\.0\.0\.0\/16: 2 of 255 subnets of \/24 are leased \(0%\), 1 quarantined$/m);
  assert.match(text, new RegExp(`^${subnet(one)} .* own `, 'm'));
  assert.match(text, new RegExp(`^${subnet(two)} .* used `, 'm'));
  assert.match(text, /^hello .* quarantined /m);
  await network.etcd.must(3, ['del', key]);
});

test('weft routes says which way an address is, and that the kernel takes it', { skip }, async () => {
  const { code, stdout } = await weft(one, 'routes', two.container.address);
  assert.equal(code, 0, stdout);
  assert.match(
    stdout,
    new RegExp(`is in ${subnet(two)}, the subnet of the peer with public IP ${two.host.address}`),
  );
  for (const object of [`route ${subnet(two)} via`, `neighbour ${two.subnet}.0 lladdr`, 'fdb '])
    assert.match(stdout, new RegExp(`^  wanted +${object}.*: there$`, 'm'));
  assert.match(stdout, /^ {2}kernel +ip route get \S+: via \S+ dev flannel\.1/m);
  assert.match(stdout, /^ {2}kernel +ip route get \S+ from \S+ iif docker0: via \S+ dev flannel\.1/m);
  assert.match(stdout, /^ {2}right +packets to it go the wanted way$/m);
  // subnet.env alone is no other network: it is of the one that answers.
  assert.doesNotMatch(stdout, /does not answer/);
});

test('weft routes names the rule that takes packets elsewhere', { skip }, async () => {
  const { host } = one;
  await host.must(['ip', 'route', 'add', 'default', 'via', two.host.address, 'table', '200']);
  await host.must(['ip', 'rule', 'add', 'pref', '100', 'to', '10.0.0.0/8', 'lookup', '200']);
  try {
    const { code, stdout } = await weft(one, 'routes', two.container.address);
    assert.equal(code, 1);
    const rule = '100: from all to 10\\.0\\.0\\.0/8 lookup 200';
    assert.match(
      stdout,
      new RegExp(`^  wrong .*"${rule}" sends it to table 200: there it goes by eth0 via `, 'm'),
    );
    assert.match(
      stdout,
      /^ {2}mend +ip rule del pref 100; or except the network: ip rule add pref 99 to 10/m,
    );
  } finally {
    await host.must(['ip', 'rule', 'del', 'pref', '100']);
    await host.must(['ip', 'route', 'flush', 'table', '200']);
  }
});

test('weft routes names a rule that only containers are sent by', { skip }, async () => {
  const { host } = one;
  await host.must(['ip', 'route', 'add', 'default', 'via', two.host.address, 'table', '201']);
  await host.must(['ip', 'rule', 'add', 'pref', '101', 'from', subnet(one), 'lookup', '201']);
  try {
    const { code, stdout } = await weft(one, 'routes', two.container.address);
    assert.equal(code, 1);
    assert.match(stdout, /^ {2}wrong .*"101: from \S+ lookup 201"/m);
  } finally {
    await host.must(['ip', 'rule', 'del', 'pref', '101']);
    await host.must(['ip', 'route', 'flush', 'table', '201']);
  }
});

test('weft routes names a route that is more specific', { skip }, async () => {
  const narrow = `${two.subnet}.0/28`;
  await one.host.must(['ip', 'route', 'add', narrow, 'dev', 'eth0']);
  try {
    const { code, stdout } = await weft(one, 'routes', two.container.address);
    assert.equal(code, 1);
    assert.match(
      stdout,
      new RegExp(
        `^  wrong .*the route ${narrow} dev eth0 is more specific .*\n  mend +ip route del ${narrow} `,
        'm',
      ),
    );
  } finally {
    await one.host.must(['ip', 'route', 'del', narrow]);
  }
});

test('weft routes says what can be said of every other address', { skip }, async () => {
  const said = async (address: string): Promise<string> => (await weft(one, 'routes', address)).stdout;
  assert.match(await said(one.container.address), /this host's own subnet.*behind docker0, on a link/s);
  assert.match(await said(`${one.subnet}.1`), /this host's own subnet.*an address of this host itself, on/s);
  assert.match(await said('10.0.255.7'), /is in the network 10\.0\.0\.0\/16, and no host has a lease for it/);
  assert.match(
    await said(two.host.address),
    new RegExp(`is the host of the peer ${subnet(two)}, outside the overlay`),
  );
  assert.match(await said('198.51.100.7'), /is in no network that this host knows/);
});

test('weft events shows a repair, and --follow reports it as it happens', { skip }, async () => {
  const follow = await one.host.start('follow', [WEFT, 'events', '--follow']);
  await follow.waitForLog(/./);
  await one.host.must(['ip', 'route', 'del', subnet(two)]);
  await follow.waitForLog(new RegExp(`repair .*${subnet(two)}`));
  await printed(one, ['events'], /^\S+ +\d+ +\S+ +repair /m);
  follow.kill('SIGINT');
  assert.equal(await follow.exited(), 0);
});

test('weft peers --watch in a pipe writes a block for each change', { skip }, async () => {
  const watch = await one.host.start('watch', [WEFT, 'peers', '--watch', 'quarantined']);
  await watch.waitForLog(/no peer is meant by these words/);
  const key = `${PREFIX}/subnets/watched`;
  await network.etcd.must(3, ['put', key], 'x');
  await watch.waitForLog(/^watched .* quarantined /m);
  await network.etcd.must(3, ['del', key]);
  await until(async () => (await watch.log()).match(/^no peer is meant/gm)?.length === 2, {
    what: 'third block',
  });
  watch.kill('SIGINT');
  assert.equal(await watch.exited(), 0);
  assert.ok(!(await watch.log()).includes(ESC));
});

test('weft peers --watch on a terminal draws on a screen of its own, in the width that it has', {
  skip,
}, async () => {
  const command = `tty > /run/weft-tty; stty cols 90 rows 30; exec ${WEFT} peers --watch`;
  const watch = await one.host.start('terminal', ['script', '-qfec', command, '/dev/null']);
  await watch.waitForLog(screenCode('h'));
  await watch.waitForLog(/SUBNET[^\n]*PUBLIC IP/);
  const terminal = ((await one.host.read('/run/weft-tty')) ?? '').trim();
  const before = (await watch.log()).length;
  await one.host.must(['stty', '-F', terminal, 'cols', '40', 'rows', '4']);
  await watch.waitForLog(/more lines: the window is too low/, 10_000, before);
  const [pid] = (await one.host.must(['pgrep', '-t', terminal.replace('/dev/', ''), '-f', 'peers --watch']))
    .trim()
    .split('\n');
  await one.host.must(['kill', '-INT', pid ?? '']);
  assert.equal(await watch.exited(), 0);
  assert.match(await watch.log(), screenCode('l'));
});

test('a wrong word gives one line with the nearest command', { skip }, async () => {
  const { code, stderr } = await weft(one, 'pers');
  assert.equal(code, 2);
  assert.equal(stderr, 'weft: there is no command pers; did you mean peers?\n');
});

test('with the daemon down the registry and the state file answer, and that is said', { skip }, async () => {
  const daemon = await two.host.daemon('flanneld');
  await daemon?.stop();
  const { code, stdout } = await weft(two, 'leases', ...two.flags);
  assert.equal(code, 0, stdout);
  assert.match(stdout, /^no flanneld serves this network on this host .*: this is what etcd v3 .* says$/m);
  assert.match(stdout, new RegExp(`^${subnet(two)} .* own `, 'm'));
  assert.match(stdout, new RegExp(`^${subnet(one)} .*\\d+h.* used `, 'm'));
  const routes = await weft(two, 'routes', one.container.address);
  assert.equal(routes.code, 0, routes.stdout);
  assert.match(routes.stdout, /^flanneld does not answer: this is what it wrote down at /m);
  assert.match(routes.stdout, /^ {2}right /m);
  const peers = await weft(two, 'peers');
  assert.equal(peers.code, 1);
  assert.match(
    peers.stderr,
    /^weft peers: no flanneld serves this network on this host .*; look at "systemctl/,
  );
});
