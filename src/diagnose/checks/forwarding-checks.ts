import { type Check, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { containerBridge } from '#src/diagnose/checks/container-bridge.ts';
import { settledPeers } from '#src/diagnose/checks/peers-now.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import { reversePathFilter, sysctlCommand } from '#src/diagnose/facts/sysctls.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { formatIp } from '#src/lib/ip.ts';

const IP_FORWARD = 'net/ipv4/ip_forward';

/** The devices that a packet of the overlay passes on this host. */
function devicesOnTheWay(facts: HostFacts): string[] {
  const { backend, underlay } = known(facts.network);
  const bridge = containerBridge(facts)?.name;
  const tunnels = backend?.inbound.devices ?? [];
  const outer = backend?.inbound.underlay && underlay !== undefined ? [underlay.name] : [];
  return [...tunnels, ...outer, ...(bridge === undefined ? [] : [bridge])];
}

export const FORWARDING_CHECKS: readonly Check[] = [
  {
    id: 'ip-forward-off',
    title: 'the host forwards packets (net.ipv4.ip_forward)',
    why: 'Every packet between a container and another host is forwarded by this host.',
    causes: ['device-forwarding-off'],
    look: ({ sysctls }) =>
      sysctls.get(IP_FORWARD) === '0'
        ? {
            what: 'The host forwards no packets: net.ipv4.ip_forward is 0.',
            remedy: `${sysctlCommand(IP_FORWARD, 1)} && echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-forwarding.conf`,
          }
        : undefined,
  },
  {
    id: 'device-forwarding-off',
    title: "the overlay's device and the containers' bridge forward",
    why: 'The kernel forwards nothing that comes in by a device whose own switch is off.',
    causes: [],
    look(facts) {
      const path = (device: string): string => `net/ipv4/conf/${device}/forwarding`;
      const off = devicesOnTheWay(facts).filter((device) => facts.sysctls.get(path(device)) === '0');
      if (off.length === 0) return undefined;
      return {
        what: `Packets that come in by ${off.join(' and ')} are not forwarded: ${off.map((device) => `net.ipv4.conf.${device}.forwarding`).join(' and ')} is 0.`,
        remedy: off.map((device) => sysctlCommand(path(device), 1)).join(' && '),
      };
    },
  },
  {
    id: 'rp-filter',
    title: "the reverse path filter lets peers' packets in",
    why: 'With rp_filter=1 the kernel drops what comes in by another device than the answer would leave by.',
    causes: [...REACH],
    look(facts) {
      const { underlay } = known(facts.network);
      if (underlay === undefined || reversePathFilter(facts.sysctls, underlay.name) !== 1) return undefined;
      const elsewhere = settledPeers(facts).filter(({ lease }) => {
        const way = facts.ways.get(lease);
        return way !== undefined && way.device !== underlay.name;
      });
      const [first] = elsewhere;
      const device = first && facts.ways.get(first.lease)?.device;
      if (first?.publicIp === undefined || device === undefined) return undefined;
      const peers = some(elsewhere.map(({ publicIp }) => (publicIp === undefined ? '' : formatIp(publicIp))));
      return {
        what: `Packets from ${peers} are dropped on ${underlay.name}: rp_filter is 1 there, and the route back is by ${device}.`,
        remedy: `sysctl -w net.ipv4.conf.all.rp_filter=2 net.ipv4.conf.${underlay.name.replaceAll('.', '/')}.rp_filter=2, or correct the route: ip route get ${formatIp(first.publicIp)}`,
        leases: elsewhere.map(({ lease }) => lease),
      };
    },
  },
];
