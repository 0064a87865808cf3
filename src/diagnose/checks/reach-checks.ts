import type { SharedSettings } from '#src/backend/backend.ts';
import { type Check, type Finding, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { peersNow } from '#src/diagnose/checks/peers-now.ts';
import { known, knownOr } from '#src/diagnose/facts/fact.ts';
import { carries, type PeerReach } from '#src/diagnose/facts/reach.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { tunnelPortOf } from '#src/diagnose/known-network.ts';
import { formatIp } from '#src/lib/ip.ts';

/** The peers, still in the registry, of which this is so. */
function peersThat(
  facts: HostFacts,
  isSo: (reach: PeerReach) => boolean,
): { readonly names: string; readonly leases: string[] } | undefined {
  const now = new Map(peersNow(facts).map((peer) => [peer.lease, peer]));
  const found = known(facts.reach).filter((reach) => now.has(reach.lease) && isSo(reach));
  if (found.length === 0) return undefined;
  const names = found.map(({ lease, ipv6 }) => {
    const ip = now.get(lease)?.publicIp;
    const name = ip === undefined ? lease : `${formatIp(ip)} (${lease})`;
    return ipv6 ? `${name} in IPv6` : name;
  });
  return { names: some(names), leases: [...new Set(found.map(({ lease }) => lease))] };
}

export const REACH_CHECKS: readonly Check[] = [
  {
    id: 'peer-down',
    title: 'peers answer',
    why: 'A host that answers neither inside nor outside the tunnel is down, or the network between is.',
    causes: [],
    look(facts) {
      const down = peersThat(
        facts,
        (reach) => !carries(reach) && reach.tunnel === 'no' && reach.underlay === 'no',
      );
      return (
        down && {
          what: `No answer, neither inside nor outside the tunnel, from ${down.names}.`,
          remedy:
            'look whether these hosts run; of one that is gone for good, weft release SUBNET gives the lease back',
          leases: down.leases,
        }
      );
    },
  },
  {
    id: 'tunnel-silent',
    title: 'peers answer inside the tunnel',
    why: 'A host that answers outside the tunnel only: something between the two drops the packets of the tunnel.',
    causes: [],
    look(facts): Finding | undefined {
      const silent = peersThat(
        facts,
        (reach) => !carries(reach) && reach.tunnel === 'no' && reach.underlay === 'yes',
      );
      const { settings, backend } = known(facts.network);
      const port = tunnelPortOf(settings);
      return (
        silent && {
          what: `The host answers outside the tunnel and not inside of it: ${silent.names}.`,
          remedy: `let UDP ${port} pass between the hosts, in a firewall there or in between: iptables -I INPUT -p udp --dport ${port} -j ACCEPT; weft doctor on that host says whether it is there. Or it runs with another VNI or port: compare "ip -d link show ${backend?.devices[0]}" on both hosts`,
          leases: silent.leases,
        }
      );
    },
  },
  {
    id: 'peer-settings',
    title: "peers have our backend's settings",
    why: 'A host that runs with an earlier network config drops what comes by the tunnel. It still answers where no tunnel is between (DirectRouting).',
    causes: [...REACH],
    look(facts) {
      const ours = known(facts.network).backend?.shared ?? {};
      const differs = ({ shared = {} }: PeerReach): [string, SharedSettings[string]] | undefined =>
        Object.entries(shared).find(([name, value]) => ours[name] !== undefined && ours[name] !== value);
      const others = peersThat(facts, (reach) => differs(reach) !== undefined);
      const first = known(facts.reach).find(({ lease }) => lease === others?.leases[0]);
      const [name = '', value] = (first && differs(first)) ?? [];
      return (
        others && {
          what: `A peer has ${name} ${value}, and ours is ${ours[name]}: ${others.names}.`,
          remedy: 'systemctl restart flanneld on the host that runs with an earlier network config',
          leases: others.leases,
        }
      );
    },
  },
  {
    id: 'path-mtu',
    title: 'packets of full size come through',
    why: 'Small packets pass and large ones are lost: connections open, and then hang.',
    causes: [],
    look(facts) {
      const { mtu, underlay } = known(facts.network);
      const short = peersThat(
        facts,
        (reach) => carries(reach) && reach.fullSize === 'no' && reach.tunnel === 'yes',
      );
      return (
        short && {
          what: `Small packets pass and packets of ${mtu} bytes don't, to and from ${short.names}.`,
          remedy: `find what passes with ping -M do -s SIZE, and set it for all: "Backend": {…, "MTU": N} in the network config, or raise the MTU on the way to ${underlay?.mtu ?? mtu}`,
          leases: short.leases,
        }
      );
    },
  },
  {
    id: 'tcp-lost',
    title: 'TCP passes inside the tunnel',
    why: 'A network card that gets the checksums of tunnelled packets wrong lets pings pass and stops TCP.',
    causes: [],
    look(facts) {
      const lost = peersThat(facts, (reach) => reach.tunnel === 'yes' && reach.tcp === 'no');
      const device = known(facts.network).backend?.devices[0];
      const offload = knownOr(facts.offloads, undefined)?.txChecksum;
      return (
        lost && {
          what: `Pings pass inside the tunnel and TCP doesn't, to ${lost.names}${offload === undefined ? '' : `; the checksum offload of ${device} is ${offload ? 'on' : 'off'}`}.`,
          remedy: `ethtool -K ${device} tx-checksum-ip-generic off, here and there`,
          leases: lost.leases,
        }
      );
    },
  },
];
