import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import type { Host } from '#src/lab/host.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { parseIpv6 } from '#src/lib/ip.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { until } from '#src/sys/until.ts';
import { attackersHost, attributesIn, countIn, forged, keyOf, newKey } from '../support/attacker.ts';
import {
  type DualNetwork,
  type DualNode,
  dualNetwork,
  readDualLease,
  route6,
} from '../support/dual-network.ts';
import { reportFault } from '../support/fault-report.ts';
import { daemonLog, PREFIX, startFlanneld } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';
import { flanneldOn, putAll } from './suite.ts';

/*
 * Leases of a network of both families that nobody should write: their IPv6 part lies, or one part of another host's lease is
 * taken. Nothing of them reaches the kernel, and each is named once, with the reason:
 *
 *     store .190 etcd ◀── etcdctl put PREFIX/subnets/JUNK
 *     h1 .191 fd77::1 flanneld ── docker0 ── c ──── traffic in IPv6 ────▶ c ── docker0 ── flanneld .192 fd77::2 h2
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

interface Hostile {
  readonly key: string;
  readonly value: string;
  readonly reason: RegExp;
}

/** Numbers of subnets that no host of the network holds: 10.0.N.0/24, and fd00:10:0:N::/64 with N read as hexadecimal. */
function freeNumbers({ one, two }: DualNetwork, from: number): Generator<number> {
  const taken = [one, two].flatMap(({ subnet, subnet6 }) => [
    subnet,
    /^fd00:10:0:([0-9a-f]+)::/.exec(subnet6)?.[1] ?? '',
  ]);
  return (function* () {
    for (let n = from; n < 250; n++) if (!taken.includes(`10.0.${n}`) && !taken.includes(String(n))) yield n;
  })();
}

const lease = (changed: object): string =>
  JSON.stringify({
    PublicIP: '172.16.71.9',
    PublicIPv6: 'fd77::99',
    BackendType: 'vxlan',
    BackendData: { VNI: 1, VtepMAC: '02:00:00:00:09:01' },
    BackendV6Data: { VNI: 1, VtepMAC: '02:00:00:00:09:02' },
    ...changed,
  });

const deviceMac = async (host: Host): Promise<string> =>
  (await host.ip(['link', 'show', 'flannel-v6.1']))[0]?.address ?? assert.fail('there is no flannel-v6.1');

/** One of each kind, at numbers that no other has. */
async function hostiles({ one, two }: DualNetwork, numbers: Generator<number>): Promise<Hostile[]> {
  const next = (): number => numbers.next().value ?? assert.fail('no free subnet');
  const mac = (text: unknown) => ({ BackendV6Data: { VNI: 1, VtepMAC: text } });
  const inOwn = one.subnet6.replace('/64', '9');
  const values: readonly (readonly [object, RegExp])[] = [
    [{ PublicIPv6: 'fe80::1' }, /PublicIPv6 fe80::1 is not a host's address/],
    [{ PublicIPv6: 'ff02::1' }, /is not a host's address/],
    [{ PublicIPv6: '::' }, /PublicIPv6/],
    [{ PublicIPv6: '::1' }, /is not a host's address/],
    [{ PublicIPv6: '::ffff:172.16.71.9' }, /PublicIPv6/],
    [{ PublicIPv6: 'fe80::1%eth0' }, /PublicIPv6/],
    [{ PublicIPv6: 7 }, /PublicIPv6/],
    [{ PublicIPv6: null }, /it has no PublicIPv6/],
    [{ PublicIPv6: one.host6 }, /PublicIPv6 fd77::1 is ours/],
    [{ PublicIPv6: inOwn }, /is inside our subnet/],
    [{ PublicIPv6: 'fd00:10:0:3::4' }, /is inside the network itself/],
    [{ BackendV6Data: null }, /BackendV6Data/],
    [{ BackendV6Data: [] }, /BackendV6Data has no readable VtepMAC/],
    [mac('no mac'), /BackendV6Data has no readable VtepMAC/],
    [mac('33:33:00:00:00:01'), /is not a unicast address/],
    [mac('00:00:00:00:00:00'), /is not a unicast address/],
    [mac(await deviceMac(one.host)), /is ours/],
    [mac(await deviceMac(two.host)), /is also that of/],
    [{ PublicIP: one.host.address }, /PublicIP .* is ours/],
  ];
  const keys: readonly (readonly [(n: number) => string, RegExp])[] = [
    [(n) => `10.0.${n}.0-24&fd00:11:0:${n}::-64`, /is not in the network/],
    [(n) => `10.0.${n}.0-24&fd00:10:0:${n}::1-64`, /not a subnet/],
    [(n) => `10.0.${n}.0-24&fd00:10:0:${n}::-129`, /not a subnet/],
    [(n) => `10.0.${n}.0-24&fd00:10:0:${n}::`, /not a subnet/],
    [(n) => `10.0.${n}.0-24&`, /not a subnet/],
    [(n) => `10.0.${n}.0-24&10.0.${n}.0-24`, /not a subnet/],
    [(n) => `fd00:10:0:${n}::-64&10.0.${n}.0-24`, /not a subnet/],
    [(n) => `10.0.${n}.0-24&fd00:10:0:${n}::-64&fd00:10:0:${n}::-64`, /not a subnet/],
    [(n) => `10.0.${n}.0-24%26fd00:10:0:${n}::-64`, /not a subnet/],
    [(n) => `fd00:10:0:${n}::-64`, /it has no IPv4 subnet/],
    [(n) => `10.0.${n}.0-24&${one.subnet6.replace('::/64', `:${n}::-80`)}`, /overlaps ours/],
    [(n) => `10.0.${n}.0-24&${two.subnet6.replace('::/64', `:${n}::-80`)}`, /IPv6 subnet overlaps that of/],
    [(n) => `10.0.${n}.0-24&fd00:10::-48`, /is as wide as the network/],
    [(n) => `10.0.${n}.0-24&fd00:10:0:${n}::-40`, /not a subnet|not in the network/],
    [(n) => `${two.subnet}.${n % 2 === 0 ? 0 : 128}-25&fd00:10:0:${n}::-64`, /subnet overlaps that of/],
    [(n) => `${one.subnet}.${n % 2 === 0 ? 0 : 128}-25&fd00:10:0:${n}::-64`, /overlaps ours/],
  ];
  const good = (n: number) => `10.0.${n}.0-24&fd00:10:0:${n}::-64`;
  return [
    ...values.map(([changed, reason]) => ({ key: good(next()), value: lease(changed), reason })),
    ...keys.map(([keyOfNumber, reason]) => ({ key: keyOfNumber(next()), value: lease({}), reason })),
  ];
}

/** What {@link kernelState} does not look at: IPv6. */
async function stateOf(host: Host): Promise<string> {
  const script = [
    'ip -d -o link show dev flannel-v6.1',
    'ip -6 -o addr show dev flannel-v6.1 scope global',
    'ip -6 route show proto static; ip -6 route show dev flannel-v6.1; ip -6 route show proto 87',
    'ip -6 neigh show dev flannel-v6.1 nud permanent',
    'bridge fdb show dev flannel-v6.1',
    'ip6tables-save | grep -v -e "^#" -e "^:"',
  ].join('; ');
  return `${await kernelState(host)}\n${await host.must(['sh', '-c', script])}`;
}

const KINDS = 35;

/** A lease that is as it should be is used, and goes again: the registry is followed. */
async function assertFollowed({ etcd, one }: DualNetwork, api: 2 | 3, n: number): Promise<void> {
  const key = `${PREFIX}/subnets/10.0.${n}.0-24&fd00:10:0:${n}::-64`;
  const [there, gone] = [api === 2 ? 'set' : 'put', api === 2 ? 'rm' : 'del'];
  await etcd.must(api, [there, key, lease({})]);
  await until(async () => (await route6(one.host, `fd00:10:0:${n}::/64`)) !== '', { what: 'a new peer' });
  await etcd.must(api, [gone, key]);
  await until(async () => (await route6(one.host, `fd00:10:0:${n}::/64`)) === '', { what: 'its end' });
  // Neighbour and forwarding entry go after the route.
  const { BackendData, BackendV6Data } = JSON.parse(lease({}));
  const macs = [BackendData, BackendV6Data].map(({ VtepMAC }) => `-e ${VtepMAC}`).join(' ');
  const rest = ['ip neigh', ...['flannel.1', 'flannel-v6.1'].map((it) => `bridge fdb show dev ${it}`)].join(
    '; ',
  );
  const isClean = ['sh', '-c', `! { ${rest}; } | grep -q ${macs}`];
  await until(async () => (await one.host.run(isClean)).code === 0, { what: 'the end of its entries' });
}

const named = (log: string, { key, reason }: Hostile): string[] =>
  log.split('\n').filter((line) => line.includes(`Ignoring the lease ${key}: `) && reason.test(line));

for (const api of [2, 3] as const) {
  test(`${KINDS} kinds of hostile leases in IPv6, before a start and while it runs (etcd v${api})`, {
    skip,
  }, async (t) => {
    const network = await dualNetwork(t, { api, config: CONFIG });
    const { etcd, one, two } = network;
    const put = (all: readonly Hostile[]) =>
      putAll(
        etcd,
        api,
        all.map(({ key, value }) => [`${PREFIX}/subnets/${key}`, value]),
      );
    const before = await stateOf(one.host);
    const traffic = await Traffic.start(one.container, two.address6);

    await (await flanneldOn(one.host)).stop();
    const start = (await daemonLog(one.host)).length;
    const early = await hostiles(network, freeNumbers(network, 10));
    assert.equal(early.length, KINDS);
    await put(early);
    await startFlanneld(one.host, one.flags);
    assert.equal(await stateOf(one.host), before);

    const late = (await hostiles(network, freeNumbers(network, 111))).filter(
      ({ key }) => !early.some((it) => it.key === key),
    );
    await put(late);
    // Written again, as a renewal does: that is no news.
    await put(late);
    await assertFollowed(network, api, freeNumbers(network, 240).next().value ?? assert.fail());
    assert.equal(await stateOf(one.host), before);
    const log = (await daemonLog(one.host)).slice(start);
    for (const hostile of [...early, ...late]) {
      const lines = log.split('\n').filter((line) => line.includes(`Ignoring the lease ${hostile.key}: `));
      assert.equal(lines.length, 1, `${hostile.key} = ${hostile.value}: ${lines.length} lines`);
      assert.match(lines[0] ?? '', hostile.reason);
    }
    await until(async () => (await traffic.received()) > 100, { what: 'traffic' });
    const { lost } = await traffic.stop();
    reportFault({
      fault: `${KINDS} kinds of hostile leases in IPv6 (etcd v${api})`,
      repairedMs: [],
      lost,
      note: 'ok, each named once',
    });
    assert.equal(lost, 0);
  });
}

/** What a writer of etcd makes of a victim's signed lease of both families, without its key or with an old lease of it. */
async function ofBothFamilies(
  { etcd }: DualNetwork,
  victim: DualNode,
  numbers: Generator<number>,
): Promise<{ readonly over: readonly Hostile[]; readonly beside: readonly Hostile[] }> {
  const name = `${victim.subnet}.0-24&${victim.subnet6.replace('/', '-')}`;
  const [, half6 = ''] = name.split('&');
  const value = await readDualLease(etcd, 3, victim);
  const [key, attributes, count] = [await keyOf(victim.host), attributesIn(value), countIn(value)];
  const attacker = newKey();
  const next = (): number => numbers.next().value ?? assert.fail('no free subnet');
  const publicIpv6 = parseIpv6('fd77::99') ?? assert.fail();
  const evil = {
    ...attackersHost(9),
    publicIpv6,
    backendV6Data: { VNI: 1, VtepMAC: '02:00:00:00:09:02' },
  };
  const changed = (from: RegExp, to: string): string => {
    const text = value.replace(from, to);
    assert.notEqual(text, value);
    return text;
  };
  const [signed6, plain6, mac6, moved] = [next(), next(), next(), next()];
  const doubled = { ...evil, ...(attributes.backendV6Data && { backendV6Data: attributes.backendV6Data }) };
  return {
    over: [
      [changed(/"PublicIPv6":"[^"]*"/, '"PublicIPv6":"fd77::99"'), /not that of its key/] as const,
      [
        changed(/("BackendV6Data":.*"VtepMAC":)"[^"]*"/, '$1"02:00:00:00:09:02"'),
        /not that of its key/,
      ] as const,
      [
        forged(key, { name, attributes: { ...attributes, publicIpv6 }, count: count - 1 }),
        /signature is old/,
      ] as const,
      [forged(attacker, { name, attributes: evil, count: count + 1 }), /held by the key/] as const,
      [encodeAttributes(evil), /signature is missing.*held by the key/] as const,
    ].map(([text, reason]) => ({ key: name, value: text, reason })),
    beside: [
      // Its IPv6 subnet with an IPv4 subnet that is free.
      {
        key: `10.0.${signed6}.0-24&${half6}`,
        value: forged(attacker, { name: `10.0.${signed6}.0-24&${half6}`, attributes: evil, count: 1 }),
        reason: /held by the key/,
      },
      {
        key: `10.0.${plain6}.0-24&${half6}`,
        value: encodeAttributes(evil),
        reason: /signature is missing.*held by the key/,
      },
      // Its IPv4 subnet alone, as of a host that came before IPv6.
      {
        key: `${victim.subnet}.0-24`,
        value: encodeAttributes(attackersHost(10)),
        reason: /signature is missing.*held by the key/,
      },
      {
        key: `10.0.${mac6}.0-24&fd00:10:0:${mac6}::-64`,
        value: forged(newKey(), {
          name: `10.0.${mac6}.0-24&fd00:10:0:${mac6}::-64`,
          attributes: doubled,
          count: 1,
        }),
        reason: /held by the key/,
      },
      { key: `10.0.${moved}.0-24&fd00:10:0:${moved}::-64`, value, reason: /signature is old/ },
    ],
  };
}

test('a writer of etcd can take neither family of a signed subnet', { skip }, async (t) => {
  const network = await dualNetwork(t, { config: CONFIG, flags: ['--trust=first-use'] });
  const { etcd, one, two } = network;
  const before = await stateOf(one.host);
  const { over, beside } = await ofBothFamilies(network, two, freeNumbers(network, 100));
  const traffics = [
    await Traffic.start(one.container, two.container.address),
    await Traffic.start(one.container, two.address6),
  ];
  // Nobody takes the lease back.
  await (await flanneldOn(two.host)).stop();
  const from = (await daemonLog(one.host)).length;
  for (const hostile of [...over, ...beside]) {
    await etcd.must(3, ['put', `${PREFIX}/subnets/${hostile.key}`, hostile.value]);
    await until(async () => named((await daemonLog(one.host)).slice(from), hostile).length > 0, {
      what: `${hostile.key} = ${hostile.value}, named for ${hostile.reason}`,
    });
    assert.equal(await stateOf(one.host), before, hostile.value);
  }
  // A start finds all of them.
  await (await flanneldOn(one.host)).stop();
  await startFlanneld(one.host, one.flags);
  assert.equal(await stateOf(one.host), before, 'after a start');
  // The victim takes both of its subnets again.
  assert.equal((await startFlanneld(two.host, two.flags)).subnetEnv, two.subnetEnv);
  for (const traffic of traffics) {
    const { lost, sent } = await traffic.stop();
    assert.equal(lost, 0);
    assert.ok(sent > 100, `${sent} packets`);
  }
});
