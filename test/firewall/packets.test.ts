import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { WantedRules } from '#src/firewall/rules.ts';
import { type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import { Docker } from '#src/lab/docker.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { callerSeenBy, serveCaller } from '#src/lab/traffic.ts';
import { ipv4, ipv6, prefix4, prefix6 } from '#src/lib/ip.ts';
import { until } from '#src/sys/until.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';
import { firewallOf, KINDS, type Kind } from './kinds.ts';

/*
 * What the rules do to packets, in each of the three firewalls. The tunnel is made by hand:
 *
 *     c1 10.5.1.2, fc00:0:0:1::2 ── docker0 h1 flannel.1 ══ flannel.1 h2 docker0 ── c2 10.5.2.2, fc00:0:0:2::2
 *                                           └──────── underlay ───────┴── store: outside, knows no way into the overlay
 */
const skip = cannotRun('iptables', 'nft', 'busybox', 'ping');

const wantedOn = (number: number): WantedRules => ({
  v4: { network: prefix4(ipv4(0x0a050000), 16), subnet: prefix4(ipv4(0x0a050001 + (number << 8)), 24) },
  v6: {
    network: prefix6(ipv6(0xfc00n << 112n), 48),
    subnet: prefix6(ipv6((0xfc00n << 112n) | (BigInt(number) << 64n)), 64),
  },
  masquerade: true,
  forward: true,
  randomFully: true,
  arriveBy: ['flannel.1'],
  dockerMark: 0x2000,
});

interface Side {
  readonly number: number;
  readonly host: Host;
  readonly container: Container;
}

/** Both hosts with their tunnels and containers; no rules yet. */
async function overlay(t: TestContext): Promise<{ lab: Lab; one: Side; two: Side }> {
  const lab = await testLab(t, { hosts: 2 });
  const sides: Side[] = [];
  for (const [index, host] of lab.hosts.entries()) {
    const number = index + 1;
    await makeTunnel(host, number, lab.hosts[1 - index]);
    await makeBridge(host, { bip: `10.5.${number}.1/24`, mtu: 1450 });
    const container = await makeContainer(host, 'c');
    await host.must(['sysctl', '-qw', 'net.ipv6.conf.all.forwarding=1']);
    await host.batch([`addr add fc00:0:0:${number}::1/64 dev docker0 nodad`]);
    await container.batch([
      `addr add fc00:0:0:${number}::2/64 dev eth0 nodad`,
      `route add default via fc00:0:0:${number}::1`,
    ]);
    sides.push({ number, host, container });
  }
  const [one, two] = sides;
  assert.ok(one && two);
  return { lab, one, two };
}

/** Host 1's way into host 2's subnet, as the vxlan backend makes it, and the way back. */
async function makeTunnel(host: Host, number: number, other: Host | undefined): Promise<void> {
  assert.ok(other);
  const far = 3 - number;
  await host.batch([
    `link add flannel.1 address 02:00:00:00:00:0${number} mtu 1450 type vxlan id 1 local ${host.address} dev eth0 dstport 8472 nolearning`,
    `addr add 10.5.${number}.0/32 dev flannel.1`,
    `addr add fc00:0:0:${number}::/128 dev flannel.1 nodad`,
    'link set flannel.1 up',
    `neigh add 10.5.${far}.0 lladdr 02:00:00:00:00:0${far} dev flannel.1 nud permanent`,
    `neigh add fc00:0:0:${far}:: lladdr 02:00:00:00:00:0${far} dev flannel.1 nud permanent`,
    `route add 10.5.${far}.0/24 via 10.5.${far}.0 dev flannel.1 onlink`,
    `route add fc00:0:0:${far}::/64 via fc00:0:0:${far}:: dev flannel.1 onlink`,
    `addr add fd00::${number}/64 dev eth0 nodad`,
  ]);
  await host.must([
    'bridge',
    'fdb',
    'add',
    `02:00:00:00:00:0${far}`,
    'dev',
    'flannel.1',
    'dst',
    other.address,
  ]);
}

/** Whether an answer comes within the seconds: asks again each second, and ends with the first answer. */
const reaches = async (from: Container, to: string, seconds = 20): Promise<boolean> =>
  (await from.run(['ping', '-c1', `-w${seconds}`, to])).code === 0;

/** The filter table of dockerd 28 and 29, and in the raw table what it adds for each container. */
const DOCKER_29 = `:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER-CT - [0:0]
:DOCKER-BRIDGE - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-CT -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER-BRIDGE -o docker0 -j DOCKER
-A DOCKER ! -i docker0 -o docker0 -j DROP
COMMIT
*raw
-A PREROUTING -d CONTAINER ! -i docker0 -j DROP`;

/** The table of dockerd 29's nftables back end, with --allow-direct-routing and --bridge-accept-fwmark. */
const dockerBridges = (family: 'ip' | 'ip6'): string => `table ${family} docker-bridges {
	map filter-forward-in-jumps {
		type ifname : verdict
		elements = { "docker0" : jump filter-forward-in__docker0 }
	}
	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept;
		oifname vmap @filter-forward-in-jumps
	}
	chain filter-forward-in__docker0 {
		ct state established,related counter accept
		meta mark & 0x2000 == 0x2000 counter accept comment "ALLOW FW MARK"
		iifname "docker0" counter accept comment "ICC"
		counter drop comment "UNPUBLISHED PORT DROP"
	}
}
`;

for (const kind of KINDS) {
  test(`${kind.name}: inside the overlay everyone is seen as who he is; what leaves it takes the host's address`, {
    skip,
  }, async (t) => {
    const { lab, one, two } = await overlay(t);
    const { store } = lab;
    await store.batch(['addr add fd00::9/64 dev eth0 nodad']);
    for (const { host, number } of [one, two]) await firewallOf(host, kind).apply(wantedOn(number));
    for (const server of [store, two.container]) await serveCaller(server);

    assert.equal(await callerSeenBy(one.container, two.container.address), '10.5.1.2');
    assert.equal(await callerSeenBy(one.container, store.address), one.host.address);
    assert.equal(await callerSeenBy(one.host, two.container.address), '10.5.1.0');

    // A host that calls from its underlay address would be answered past the tunnel: it takes its overlay address.
    await one.host.batch([
      `route change 10.5.2.0/24 via 10.5.2.0 dev flannel.1 src ${one.host.address} onlink`,
    ]);
    assert.equal(await callerSeenBy(one.host, two.container.address), '10.5.1.0');

    // From outside straight to the container's own host: the container sees the caller.
    await store.batch([`route add 10.5.2.0/24 via ${two.host.address}`]);
    assert.equal(await callerSeenBy(store, two.container.address), store.address);

    assert.ok(await reaches(one.container, 'fd00::9'), 'the store has no route to fc00::, so it saw a host');
    await two.container.batch([
      'route del default via fc00:0:0:2::1',
      'route add fc00:0:0:1::2 via fc00:0:0:2::1',
    ]);
    assert.ok(await reaches(one.container, 'fc00:0:0:2::2'), 'c2 has a route to c1 only, so it saw c1');
  });

  test(`${kind.name}: an exempt range sees the containers; without masquerading all do`, {
    skip,
  }, async (t) => {
    const { lab, one } = await overlay(t);
    const { store } = lab;
    await serveCaller(store);
    await store.batch([`route add 10.5.1.0/24 via ${one.host.address}`]);
    const firewall = firewallOf(one.host, kind);
    const wanted = wantedOn(1);
    await firewall.apply(wanted);
    assert.equal(await callerSeenBy(one.container, store.address), one.host.address);
    await firewall.apply({ ...wanted, exempt: [prefix4(ipv4(0xac100000), 12)] });
    assert.equal(await callerSeenBy(one.container, store.address), one.container.address);
    await firewall.apply({ ...wanted, masquerade: false });
    assert.equal(await callerSeenBy(one.container, store.address), one.container.address);
  });

  for (const [name, rules] of Object.entries(blockers(kind))) {
    test(`${kind.name}: with ${name} the overlay passes once the rules are there`, { skip }, async (t) => {
      const { one, two } = await overlay(t);
      for (const [program, lines] of Object.entries(rules)) {
        for (const [family, address] of [
          ['iptables', '10.5.2.2/32'],
          ['ip6tables', 'fc00:0:0:2::2/128'],
        ] as const) {
          const argv = [`${family}${program}-restore`, '--noflush'];
          const stdin = `*filter\n${lines.replaceAll('CONTAINER', address)}\nCOMMIT\n`;
          await two.host.must(argv, { stdin });
        }
      }
      const firewall = firewallOf(two.host, kind);
      const wanted = wantedOn(2);
      const ways: [Container, string][] = [
        [one.container, '10.5.2.2'],
        [two.container, '10.5.1.2'],
        [one.container, 'fc00:0:0:2::2'],
        [two.container, 'fc00:0:0:1::2'],
      ];
      const answers = (seconds: number) => Promise.all(ways.map(([from, to]) => reaches(from, to, seconds)));
      const all = [true, true, true, true];
      const [four, , six] = await answers(1);
      assert.deepEqual([four, six], [false, false], 'from outside, nothing comes in');
      await firewall.apply(wanted);
      assert.deepEqual(await answers(20), all);
      assert.deepEqual(await firewall.verify(wanted), { asWanted: true });
      await firewall.cleanOther(wanted);
      assert.deepEqual(await answers(20), all);
    });
  }
}

/** What hosts are found with, by the program that holds it: rules that let nothing through to the containers. */
function blockers({ iptables }: Kind): Record<string, Record<string, string>> {
  const policy = ':FORWARD DROP [0:0]';
  const other = iptables === '-nft' ? '-legacy' : '-nft';
  return {
    'the policy DROP': { [iptables]: policy },
    'a REJECT at the end': { [iptables]: '-A FORWARD -i eth9 -j ACCEPT\n-A FORWARD -j REJECT' },
    'a chain that rejects at the end': {
      [iptables]: ':LAST - [0:0]\n-A FORWARD -j LAST\n-A LAST -j REJECT',
    },
    'the drops of Docker 28 and 29': { [iptables]: DOCKER_29 },
    'the drops of Docker 28 and 29 in the other iptables': {
      [iptables]: '-A FORWARD -i eth9 -j ACCEPT',
      [other]: DOCKER_29,
    },
    'the policy DROP in the other iptables': { [iptables]: '-A FORWARD -i eth9 -j ACCEPT', [other]: policy },
  };
}

for (const kind of KINDS) {
  test(`${kind.name}: Docker's nftables back end knows the overlay's packets by their mark`, {
    skip,
  }, async (t) => {
    const { one, two } = await overlay(t);
    const tables = `${dockerBridges('ip')}${dockerBridges('ip6')}`;
    await two.host.must(['nft', '-f', '-'], { stdin: tables });
    assert.equal(await reaches(one.container, '10.5.2.2', 1), false);
    const firewall = firewallOf(two.host, kind);
    await firewall.apply({ ...wantedOn(2), dockerMark: 0x1000 });
    assert.equal(await reaches(one.container, '10.5.2.2', 1), false, 'another mark');
    await firewall.apply(wantedOn(2));
    assert.ok(await reaches(one.container, '10.5.2.2'));
    assert.ok(await reaches(one.container, 'fc00:0:0:2::2'));
  });

  test(`${kind.name}: Docker's drops stay in force for what comes by the underlay with a source of the overlay`, {
    skip,
  }, async (t) => {
    const { lab, one, two } = await overlay(t);
    const { store } = lab;
    await store.batch(['addr add 10.5.1.9/32 dev eth0', `route add 10.5.2.0/24 via ${two.host.address}`]);
    await two.host.must(['sysctl', '-qw', 'net.ipv4.conf.all.rp_filter=0', 'net.ipv4.conf.eth0.rp_filter=0']);
    /** Whether a packet with a forged source arrives; its answer goes into the tunnel and is lost. */
    const arrives = async () => {
      const before = await echoesSeenBy(two.container);
      await store.run(['ping', '-c1', '-w1', '-I', '10.5.1.9', two.container.address]);
      return (await echoesSeenBy(two.container)) > before;
    };
    // The first one waits for ARP.
    await until(arrives, { what: 'packet with a forged source while nothing drops' });
    const firewall = firewallOf(two.host, kind);
    const [lines, address] = [DOCKER_29, `${two.container.address}/32`];
    await two.host.must([`iptables${kind.iptables}-restore`, '--noflush'], {
      stdin: `*filter\n${lines.replaceAll('CONTAINER', address)}\nCOMMIT\n`,
    });
    await firewall.apply(wantedOn(2));
    assert.ok(await reaches(one.container, two.container.address));
    assert.equal(await arrives(), false, 'by the underlay');
    await firewall.apply({ ...wantedOn(2), arriveBy: ['flannel.1', 'eth0'] });
    await until(arrives, { what: 'packet by the underlay, which DirectRouting trusts' });
    assert.ok(await reaches(one.container, two.container.address));
    await firewall.apply(wantedOn(2));
    assert.equal(await arrives(), false);
  });
}

/** Echo requests that came in since the container was made (`Icmp: InEchos` of /proc/net/snmp). */
async function echoesSeenBy(container: Container): Promise<number> {
  const { stdout } = await container.run(['cat', '/proc/net/snmp']);
  const [names = [], values = []] = [...stdout.matchAll(/^Icmp: (.*)$/gm)].map(([, line = '']) =>
    line.split(' '),
  );
  return Number(values[names.indexOf('InEchos')]);
}

const DOCKER_SKIP = cannotRun('dockerd', 'iptables', 'nft', 'ping');

for (const kind of KINDS.filter(({ iptables }) => iptables === '-nft')) {
  test(`${kind.name}: with a real Docker, before and after it restarts`, {
    skip: DOCKER_SKIP,
  }, async (t) => {
    const lab = await testLab(t, { hosts: 2 });
    const [one, two] = lab.hosts;
    assert.ok(one && two);
    await makeTunnel(one, 1, two);
    await makeTunnel(two, 2, one);
    await makeBridge(one, { bip: '10.5.1.1/24', mtu: 1450 });
    const near = await makeContainer(one, 'c');
    const options = ['--bip=10.5.2.1/24', '--mtu=1450', '--ip-masq=false'];
    const docker = await Docker.start(two, { options, cgroup: lab.cgroup });
    await makeContainer(two, 'c');
    assert.equal(await reaches(near, '10.5.2.2', 1), false);
    const firewall = firewallOf(two, kind);
    await firewall.apply(wantedOn(2));
    assert.ok(await reaches(near, '10.5.2.2'));
    await docker.daemon.stop();
    const again = await Docker.start(two, { options, cgroup: lab.cgroup });
    await until(async () => (await two.run(['docker', 'version'])).code === 0, {
      what: `answer of ${again.daemon.name}`,
      signal: t.signal,
    });
    assert.deepEqual(await firewall.verify(wantedOn(2)), { asWanted: true });
    assert.ok(await reaches(near, '10.5.2.2'));
  });
}
