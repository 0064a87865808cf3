import { type Check, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { containerBridge } from '#src/diagnose/checks/container-bridge.ts';
import { settledPeers } from '#src/diagnose/checks/peers-now.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import { acceptRa, reversePathFilter, sysctlCommand } from '#src/diagnose/facts/sysctls.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { formatIp } from '#src/lib/ip.ts';
import { RTPROT_RA } from '#src/state/object.ts';

const IP_FORWARD = 'net/ipv4/ip_forward';
const IPV6_FORWARD = 'net/ipv6/conf/all/forwarding';

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
    look({ sysctls, network }) {
      if (sysctls.get(IP_FORWARD) !== '0' || known(network).networks.v4 === undefined) return undefined;
      return {
        what: 'The host forwards no packets: net.ipv4.ip_forward is 0.',
        remedy: `${sysctlCommand(IP_FORWARD, 1)} && echo net.ipv4.ip_forward=1 > /etc/sysctl.d/90-forwarding.conf`,
      };
    },
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
    id: 'ipv6-forward-off',
    title: 'the host forwards packets of IPv6 (net.ipv6.conf.all.forwarding)',
    why: 'Linux forwards packets of IPv6 by this one setting, whatever its devices have.',
    causes: [],
    look(facts) {
      if (known(facts.network).networks.v6 === undefined || facts.sysctls.get(IPV6_FORWARD) !== '0')
        return undefined;
      return {
        what: 'The host forwards no packets of IPv6: net.ipv6.conf.all.forwarding is 0.',
        remedy: `${sysctlCommand(IPV6_FORWARD, 1)} && echo net.ipv6.conf.all.forwarding=1 > /etc/sysctl.d/90-forwarding-ipv6.conf; a device with its default route from router advertisements needs accept_ra=2 before`,
      };
    },
  },
  {
    id: 'router-advertisements',
    title: 'the underlay keeps the IPv6 default route that its router advertises (accept_ra)',
    why: 'On a host that forwards, Linux takes no default route from router advertisements, unless accept_ra is 2.',
    causes: [],
    look(facts) {
      const { networks, underlay } = known(facts.network);
      if (networks.v6 === undefined || underlay === undefined) return undefined;
      const { name } = underlay;
      const isDeaf = facts.sysctls.get(IPV6_FORWARD) === '1' && facts.sysctls.get(acceptRa(name)) === '1';
      const defaults = facts.routes.filter(
        ({ destination, type }) => destination.family === 6 && destination.length === 0 && type === 'unicast',
      );
      // Where a network manager reads the advertisements, or none are sent, there is another route or no address of theirs.
      const hasAddressOfRouter = facts.addresses.some(
        ({ device, prefix, flags }) => device === name && prefix.family === 6 && flags?.dynamic === true,
      );
      const isKept = defaults.some(({ protocol }) => protocol !== RTPROT_RA);
      if (!isDeaf || isKept || !hasAddressOfRouter) return undefined;
      const state =
        defaults.length === 0
          ? 'there is no IPv6 default route any more'
          : 'the IPv6 default route will be gone when its time is over';
      return {
        what: `${name} has an address from router advertisements, and takes no more of them, because this host forwards: ${state}.`,
        remedy: `${sysctlCommand(acceptRa(name), 2)} && echo net.ipv6.conf.${name.replaceAll('.', '/')}.accept_ra=2 > /etc/sysctl.d/90-accept-ra.conf; the next advertisement brings the route`,
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
