import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { until } from '#src/sys/until.ts';
import {
  daemonLog,
  FLANNELD,
  flagsFor,
  noPeer,
  PEERS,
  PREFIX,
  readLease,
  startFlanneld,
  startStore,
  WEFT,
  writeConfig,
} from '../support/flanneld.ts';
import { type Network, pairOf, testNetwork } from '../support/network.ts';
import { readyOn, statusOf } from '../support/node-status.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * The backend extension, with commands that make a VXLAN device or routes:
 *
 *     store .190 etcd     h1 .191 flanneld ── c     h2 .192 flanneld ── c
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'bridge');

const configOf = (commands: Readonly<Record<string, string>>): string =>
  JSON.stringify({ Network: '10.0.0.0/16', SubnetLen: 24, Backend: { Type: 'extension', ...commands } });

/**
 * flannel's own example (HEAD, dist/extension-vxlan): quotes, pipes, `export`, `read`. Only the MAC comes from `ip`: a lab's hosts
 * share /sys.
 */
const VXLAN = {
  PreStartupCommand:
    'export VNI=1; export IF_NAME=flannel-vxlan; ip link del "$IF_NAME" 2>/dev/null; ip link add "$IF_NAME" type vxlan id "$VNI" dstport 8472 nolearning && ip link set mtu 1450 dev "$IF_NAME" && ip -o link show "$IF_NAME" | sed "s/.*link.ether \\([^ ]*\\) .*/\\1/"',
  PostStartupCommand: `export IF_NAME=flannel-vxlan; export SUBNET_IP=$(echo "$SUBNET" | cut -d'/' -f 1); ip addr add "\${SUBNET_IP}/32" dev "$IF_NAME" && ip link set "$IF_NAME" up`,
  ShutdownCommand: 'export IF_NAME=flannel-vxlan; ip link del "$IF_NAME"',
  SubnetAddCommand:
    'export SUBNET_IP=$(echo "$SUBNET" | cut -d\'/\' -f 1); export IF_NAME=flannel-vxlan; read VTEP; ip route add "$SUBNET" nexthop via "$SUBNET_IP" dev "$IF_NAME" onlink && ip neigh replace "$SUBNET_IP" dev "$IF_NAME" lladdr "$VTEP" && bridge fdb add "$VTEP" dev "$IF_NAME" self dst "$PUBLIC_IP"',
};
const ROUTES = {
  SubnetAddCommand: 'ip route replace "$SUBNET" via "$PUBLIC_IP" proto 99',
  SubnetRemoveCommand: 'ip route del "$SUBNET" via "$PUBLIC_IP" proto 99',
};

const routesOf = async (host: Host): Promise<string> =>
  (await host.must(['ip', 'route', 'show', 'proto', '99'])).trim().replace(/\s+/g, ' ');

async function reachEachOther(network: Network, size = '56'): Promise<void> {
  const [one, two] = pairOf(network);
  for (const [from, to] of [
    [one, two],
    [two, one],
  ] as const) {
    await until(
      async () =>
        (await from.container.run(['ping', '-c1', '-W1', '-M', 'do', '-s', size, to.container.address]))
          .code === 0,
      { what: `ping from ${from.host.name} to ${to.host.name}` },
    );
  }
}

/** A lease of a peer that is not there. */
const putLease = (network: Network, subnet: string, data: unknown): Promise<unknown> => {
  const value = JSON.stringify({
    PublicIP: '172.16.70.199',
    BackendType: 'extension',
    BackendData: data,
  });
  return network.etcd.must(3, ['put', `${PREFIX}/subnets/${subnet}.0-24`, value]);
};

test('flannel’s own example of a VXLAN runs as it is written', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, config: configOf(VXLAN) });
  const [one, two] = pairOf(network);
  await reachEachOther(network, '1422');
  const [link] = await one.host.ip(['link', 'show', 'flannel-vxlan']);
  assert.match(
    await readLease(network.etcd, 3, one.subnet),
    new RegExp(
      `^\\{"PublicIP":"${one.host.address}","PublicIPv6":null,"BackendType":"extension","BackendData":"${link?.address}","Node":"[^"]+"\\}$`,
    ),
  );
  assert.match((await one.host.read('/run/flannel/subnet.env')) ?? '', /^FLANNEL_MTU=1500$/m);
  assert.deepEqual((await statusOf(one.host)).troubles, []);
  // A plan names the commands, and runs none.
  await (await two.host.daemon('flanneld'))?.stop();
  assert.equal((await two.host.run(['ip', 'link', 'show', 'flannel-vxlan'])).code, 1, 'ShutdownCommand');
  const plan = await two.host.must([WEFT, 'plan', ...two.flags]);
  assert.match(plan, /sh -c 'export VNI=1/);
  assert.match(plan, new RegExp(`SUBNET=${one.subnet}.0/24 .*sh -c 'export SUBNET_IP`));
  assert.equal((await two.host.run(['ip', 'link', 'show', 'flannel-vxlan'])).code, 1);
});

test('routes: a restart loses nothing, a peer that left is removed, and one that comes back is added', {
  skip,
}, async (t) => {
  const network = await testNetwork(t, { api: 3, config: configOf(ROUTES) });
  const [one, two] = pairOf(network);
  const route = `${two.subnet}.0/24 via ${two.host.address} dev eth0`;
  assert.equal(await routesOf(one.host), route);
  await reachEachOther(network, '1472');
  const steady = await Traffic.start(one.container, two.container.address);
  await (await one.host.daemon('flanneld'))?.stop();
  await startFlanneld(one.host, one.flags);
  const report = await steady.stop();
  assert.equal(report.lost, 0, JSON.stringify(report));
  // The commands of a restart are those of a start: what was lost meanwhile is back.
  await (await one.host.daemon('flanneld'))?.stop();
  await one.host.must(['ip', 'route', 'del', `${two.subnet}.0/24`, 'proto', '99']);
  await startFlanneld(one.host, one.flags);
  await until(async () => (await routesOf(one.host)) === route, { what: 'the route after a restart' });

  await putLease(network, '10.0.250', 'x');
  await until(async () => (await routesOf(one.host)).includes('10.0.250.0/24 via 172.16.70.199'), {
    what: 'the route of another peer',
  });
  await network.etcd.must(3, ['del', `${PREFIX}/subnets/10.0.250.0-24`]);
  await until(async () => (await routesOf(one.host)) === route, { what: 'the end of that route' });
});

test('a command that fails is named with its peer, tried again, and the others are served', {
  skip,
}, async (t) => {
  const flag = '/run/flannel/may-add';
  const config = configOf({
    ...ROUTES,
    SubnetAddCommand: `case "$SUBNET" in 10.0.250.*) test -e ${flag} || { head -c 300000 /dev/zero | tr '\\0' y; echo; echo "no $SUBNET yet" >&2; exit 7; };; esac; ${ROUTES.SubnetAddCommand}`,
  });
  const network = await testNetwork(t, { api: 3, config });
  const [one] = pairOf(network);
  await putLease(network, '10.0.250', 'x');
  const leftOut = await until(
    async () => {
      const { peers } = await statusOf(one.host);
      return peers.quarantined.length > 0 ? peers.quarantined : undefined;
    },
    { what: 'the peer whose command fails' },
  );
  assert.deepEqual(leftOut, [
    {
      lease: '10.0.250.0-24',
      reason: 'the subnet 10.0.250.0/24: SubnetAddCommand failed: exit code 7: no 10.0.250.0/24 yet',
    },
  ]);
  await readyOn(one.host);
  await reachEachOther(network);
  assert.match(
    await daemonLog(one.host),
    /the subnet 10\.0\.250\.0\/24: SubnetAddCommand failed: exit code 7/,
  );
  await one.host.must(['touch', flag]);
  await until(async () => (await statusOf(one.host)).peers.quarantined.length === 0, {
    what: 'success of the next try',
    // Tries come at most a minute apart, which it may have come to on a slow machine.
    timeoutMs: 90_000,
  });
  assert.match(await routesOf(one.host), /10\.0\.250\.0\/24/);
});

test('what a stranger writes reaches a command by its input only, and no text is no peer', {
  skip,
}, async (t) => {
  const config = configOf({
    ...ROUTES,
    SubnetAddCommand: `${ROUTES.SubnetAddCommand}; cat >"/run/flannel/in-\${SUBNET%%/*}"`,
  });
  const network = await testNetwork(t, { api: 3, config });
  const [one] = pairOf(network);
  const evil = '$(touch /run/flannel/pwned)`touch /run/flannel/pwned`"; touch /run/flannel/pwned; \'\nsecond';
  await putLease(network, '10.0.250', evil);
  await putLease(network, '10.0.251', { VNI: 1 });
  await until(async () => (await one.host.read('/run/flannel/in-10.0.250.0')) !== undefined, {
    what: 'the input of the command',
  });
  await until(async () => (await one.host.read('/run/flannel/in-10.0.250.0')) === `${evil}\n`, {
    what: 'all of it',
  });
  assert.equal(await one.host.read('/run/flannel/pwned'), undefined);
  const leftOut = await until(
    async () => {
      const { peers } = await statusOf(one.host);
      return peers.quarantined.length > 0 ? peers.quarantined : undefined;
    },
    { what: 'the peer without a text' },
  );
  assert.deepEqual(leftOut, [{ lease: '10.0.251.0-24', reason: 'its BackendData is no text' }]);
  assert.equal(await one.host.read('/run/flannel/in-10.0.251.0'), undefined);
});

test('a command that hangs holds up nothing but the next command, and ends with flanneld', {
  skip,
}, async (t) => {
  const config = configOf({
    ...ROUTES,
    SubnetAddCommand: `case "$SUBNET" in 10.0.250.*) echo $$ >/run/flannel/hangs; sleep 1000;; esac; ${ROUTES.SubnetAddCommand}`,
  });
  const network = await testNetwork(t, { api: 3, config });
  const [one] = pairOf(network);
  await putLease(network, '10.0.250', 'x');
  const pid = await until(async () => (await one.host.read('/run/flannel/hangs'))?.trim() || undefined, {
    what: 'a command that hangs',
  });
  await readyOn(one.host);
  await reachEachOther(network);
  await (await one.host.daemon('flanneld'))?.stop();
  // One that was killed is in the list until the init of the machine collects it.
  const isThere = ['grep', '-q', '^State:[[:space:]][^ZX]', `/proc/${pid}/status`];
  await until(async () => (await one.host.run(isThere)).code !== 0, { what: 'the end of the command' });
});

for (const [name, commands, line] of [
  [
    'PreStartupCommand',
    { ...ROUTES, PreStartupCommand: 'echo "no device" >&2; exit 3' },
    /PreStartupCommand failed: exit code 3: no device; its text is Backend\.PreStartupCommand/,
  ],
  [
    'PostStartupCommand',
    { ...ROUTES, PostStartupCommand: 'echo "$NETWORK $SUBNET $PUBLIC_IP"; exit 4' },
    /PostStartupCommand: PostStartupCommand failed: exit code 4: 10\.0\.0\.0\/16 10\.0\.\d+\.0\/24 172\.16\.70\.191/,
  ],
] as const) {
  test(`a start ends where ${name} fails, as flannel’s does`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const etcd = await startStore(lab, 'etcd');
    await writeConfig(etcd, 3, configOf(commands));
    const [host] = lab.hosts;
    assert.ok(host);
    const { code, stdout, stderr } = await host.run([FLANNELD, ...flagsFor(host, etcd)]);
    assert.equal(code, 1);
    assert.match(`${stdout}${stderr}`, line);
  });
}

for (const api of [2, 3] as const) {
  test(`commands of ours and of another flanneld on etcd v${api} pass traffic both ways`, {
    skip: skip || noPeer(api),
  }, async (t) => {
    const peer = (api === 2 ? PEERS.v2 : PEERS.v3) ?? '';
    // flannel's later versions know no quotes.
    const config = configOf({ SubnetAddCommand: 'ip route replace $SUBNET via $PUBLIC_IP proto 99' });
    const network = await testNetwork(t, { api, programs: [FLANNELD, peer], config });
    await reachEachOther(network, '1472');
  });
}
