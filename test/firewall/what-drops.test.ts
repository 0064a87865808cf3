import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { makeTable } from '#src/firewall/own-table.ts';
import { tunnelTable } from '#src/firewall/tenant-tunnels.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { silentLogger } from '#src/lib/log.ts';
import { DropWatch } from '#src/reconcile/rules/drop-watch.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { cannotRun } from '../support/test-lab.ts';
import { WANTED_RULES } from '../support/wanted-rules.ts';
import { commandsOf, firewallOf, KINDS, type Kind } from './kinds.ts';
import { Namespace } from './namespace.ts';

/*
 * What is found to drop the overlay, on a real kernel and as the real programs print it. One host, no packets:
 *
 *     h1 (its own namespace): firewall, watch ──▶ iptables-nft | iptables-legacy | nft ◀── Docker, firewalld
 */
const skip = cannotRun('iptables', 'iptables-legacy', 'nft');

async function hostOf(t: TestContext, kind: Kind) {
  const host = await Namespace.make(t);
  const firewall = firewallOf(host, kind);
  const found = async (wanted = WANTED_RULES) => {
    const watch = new DropWatch(
      {
        commands: commandsOf(host, kind),
        ruleset: new NftablesRuleset(
          { netlink: systemNetlink, clock: systemClock },
          { namespace: `/run/netns/${host.name}` },
        ),
        programs: (signal) => firewall.programs(signal),
        // The time between the two looks at a finding.
        clock: { ...systemClock, sleep: async () => {} },
        http: { get: async () => undefined },
        log: silentLogger,
      },
      { wanted: () => wanted, bridge: async () => undefined },
    );
    await watch.ensure(t.signal);
    return watch.troubles;
  };
  return { host, firewall, found };
}

/** As dockerd 29 makes it for docker0 and one container. */
const dockerBridges = ({
  mark,
  direct,
  family = 'ip',
}: {
  mark: boolean;
  direct: boolean;
  family?: 'ip' | 'ip6';
}): string => `table ${family} docker-bridges {
	map filter-forward-in-jumps {
		type ifname : verdict
		elements = { "docker0" : jump filter-forward-in__docker0 }
	}
	map filter-forward-out-jumps {
		type ifname : verdict
		elements = { "docker0" : jump filter-forward-out__docker0 }
	}
	chain filter-FORWARD {
		type filter hook forward priority filter; policy accept;
		oifname vmap @filter-forward-in-jumps
		iifname vmap @filter-forward-out-jumps
	}
	chain raw-PREROUTING {
		type filter hook prerouting priority raw; policy accept;
		${direct ? '' : `${family} daddr ${family === 'ip' ? '10.5.26.2' : 'fc00:0:0:1::2'} iifname != { "docker0" } counter drop comment "DROP DIRECT ACCESS"`}
	}
	chain filter-forward-in__docker0 {
		ct state established,related counter accept
		${mark ? 'meta mark & 0x2000 == 0x2000 counter accept comment "ALLOW FW MARK"' : ''}
		iifname "docker0" counter accept comment "ICC"
		counter drop comment "UNPUBLISHED PORT DROP"
	}
	chain filter-forward-out__docker0 {
		ct state established,related counter accept
		counter accept comment "OUTGOING"
	}
}
`;

/** firewalld 1.2's forward chain, without its zones' own rules. */
const FIREWALLD = `table inet firewalld {
	chain filter_FORWARD {
		type filter hook forward priority filter + 10; policy accept;
		ct state established,related accept
		ct status dnat accept
		iifname "lo" accept
		ct state invalid drop
		ip6 daddr { ::/96, ::ffff:0.0.0.0/96, 2002::/24 } reject with icmpv6 addr-unreachable
		jump filter_FORWARD_ZONES
		reject with icmpx admin-prohibited
	}
	chain filter_FORWARD_ZONES {
		iifname "eth0" oifname { "eth0", "eth1" } goto filter_FWD_public
		TRUSTED
	}
	chain filter_FWD_public {
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport 22 accept
	}
}
`;

for (const kind of KINDS) {
  test(`${kind.name}: with our rules nothing is found; without them, Docker's drops are`, {
    skip,
  }, async (t) => {
    const { host, firewall, found } = await hostOf(t, kind);
    await host.must(
      `iptables${kind.iptables}-restore`,
      `*raw
-A PREROUTING -d 10.5.26.2/32 ! -i docker0 -j DROP
COMMIT
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:DOCKER-FORWARD - [0:0]
:DOCKER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER-FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -o docker0 -j DOCKER
-A DOCKER-FORWARD -i docker0 -j ACCEPT
-A DOCKER ! -i docker0 -o docker0 -j DROP
COMMIT
`,
    );
    await host.must(
      `ip6tables${kind.iptables}-restore`,
      `*raw
-A PREROUTING -d fc00:0:0:1::2/128 ! -i docker0 -j DROP
COMMIT
`,
    );
    const text = (await found()).join('\n');
    assert.match(text, /ip6tables\S* drops .* chain PREROUTING: -d fc00:0:0:1::2\/128 ! -i docker0 -j DROP/);
    assert.match(text, /table raw, chain PREROUTING: -d 10\.5\.26\.2\/32 ! -i docker0 -j DROP/);
    assert.match(text, /table filter, chain DOCKER: ! -i docker0 -o docker0 -j DROP/);
    await firewall.apply(WANTED_RULES);
    await host.must('nft -f -', makeTable(tunnelTable(8473), []));
    assert.deepEqual(await found(), [], "nor do our rules for tenants' tunnels drop the overlay");
  });

  test(`${kind.name}: Docker's nftables back end is found unless it has both options`, {
    skip,
  }, async (t) => {
    const { host, firewall, found } = await hostOf(t, kind);
    await firewall.apply(WANTED_RULES);
    for (const family of ['ip', 'ip6'] as const) {
      for (const mark of [true, false]) {
        for (const direct of [true, false]) {
          await host.must('nft -f -', dockerBridges({ mark, direct, family }));
          const troubles = await found();
          assert.equal(troubles.length, Number(!mark) + Number(!direct), troubles.join('\n'));
          for (const trouble of troubles)
            assert.match(trouble, /"allow-direct-routing": true, "bridge-accept-fwmark": "0x2000\/0x2000"$/);
          await host.must(`nft delete table ${family} docker-bridges`);
        }
      }
    }
  });

  test(`${kind.name}: firewalld's reject is found until its zones accept the overlay`, {
    skip,
  }, async (t) => {
    const { host, firewall, found } = await hostOf(t, kind);
    await firewall.apply(WANTED_RULES);
    await host.must('nft -f -', FIREWALLD.replace('TRUSTED', ''));
    const [trouble, ...others] = await found();
    assert.match(
      trouble ?? '',
      /^nftables drops .*: table inet firewalld, chain filter_FORWARD: reject; .*firewall-cmd/,
    );
    assert.deepEqual(others, []);
    await host.must('nft delete table inet firewalld');
    const trusted = 'ip saddr 10.5.0.0/16 accept\n\t\tip6 saddr fc00::/48 accept';
    await host.must('nft -f -', FIREWALLD.replace('TRUSTED', trusted));
    assert.deepEqual(await found(), []);
  });
}
