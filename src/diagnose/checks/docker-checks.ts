import { type Check, some } from '#src/diagnose/check.ts';
import { containerBridge } from '#src/diagnose/checks/container-bridge.ts';
import { dockerdOption, doubledOptions } from '#src/diagnose/facts/dockerd.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { addressAfter, containsPrefix, formatPrefix, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';

/** The address that the bridge must have: the first of the subnet. */
function bipOf(facts: HostFacts): string | undefined {
  const { v4 } = known(facts.network).subnets;
  return v4 && formatPrefix({ ...v4, address: addressAfter(v4, 1) });
}

const REMEDY =
  'systemctl enable flanneld, with which weft-generator gives Docker the options of mk-docker-opts, or the drop-in docker.service.d/flannel.conf of docs/guides/systemd.md; then systemctl restart docker';

/** Docker's containers may be in networks of its own, with weft's driver: then docker0 is no matter of the overlay's. */
function usesDriver({ daemon }: HostFacts): boolean {
  return daemon.state === 'running' && daemon.status.docker?.state === 'on';
}

const DOCKER_BRIDGE = 'docker0';
/** What dockerd does without the option (dockerd(8)). */
const DEFAULT_MTU = 1500;

/** It needs nothing of a network. */
export const DOCKER_JSON: Check<Pick<HostFacts, 'dockerd'>> = {
  id: 'docker-json',
  title: "Docker's file can be read, and says nothing twice",
  why: 'dockerd does not start with a file that it can not read, or with an option in two places.',
  causes: [],
  look(facts) {
    const dockerd = known(facts.dockerd);
    if (dockerd.jsonFault !== undefined)
      return {
        what: `${dockerd.file} can't be read: ${dockerd.jsonFault}. dockerd runs with what it read before.`,
        remedy: `dockerd --validate --config-file=${dockerd.file} says where`,
      };
    const doubled = doubledOptions(dockerd);
    if (doubled.length === 0) return undefined;
    return {
      what: `${doubled.join(' and ')} ${doubled.length === 1 ? 'is' : 'are'} in ${dockerd.file} and on dockerd's command line: dockerd will not start again.`,
      remedy: `take ${doubled.join(' and ')} out of ${dockerd.file}: the command line has what subnet.env says`,
    };
  },
};

export const DOCKER_CHECKS: readonly Check[] = [
  DOCKER_JSON,
  {
    id: 'docker-bip',
    title: 'dockerd was started with the bridge address of subnet.env (--bip)',
    why: 'Containers with addresses of another subnet are reached by no other host.',
    causes: ['bridge-address', 'bridge-missing', 'docker-mtu', 'docker-masquerade', 'route-shadowed'],
    look(facts) {
      const dockerd = known(facts.dockerd);
      const wanted = bipOf(facts);
      const bip = dockerdOption(dockerd, 'bip');
      const bridge = dockerdOption(dockerd, 'bridge') ?? dockerdOption(dockerd, 'b');
      if (wanted === undefined || bridge !== undefined || bip?.value === wanted) return undefined;
      if (bip === undefined) {
        if (usesDriver(facts) || containerBridge(facts) !== undefined) return undefined;
        return {
          what: `dockerd runs without --bip: its containers are not in this host's subnet ${formatPrefix(known(facts.network).subnet)}.`,
          remedy: REMEDY,
        };
      }
      const given = parsePrefix4(bip.value);
      const right = given !== undefined && formatPrefix(given) === wanted;
      return right
        ? undefined
        : {
            what: `dockerd was started with --bip=${bip.value} (${bip.from}), and ${facts.place.subnetFile} says ${wanted}.`,
            remedy: REMEDY,
          };
    },
  },
  {
    id: 'docker-ipv6',
    title: "dockerd was started with the host's IPv6 subnet (--ipv6, --fixed-cidr-v6)",
    why: 'Without the two options containers on the default bridge have no address of the IPv6 network.',
    causes: [],
    look(facts) {
      const dockerd = known(facts.dockerd);
      const { v6 } = known(facts.network).subnets;
      // A bridge by hand, or one of another network, is its owner's matter.
      if (v6 === undefined || containerBridge(facts)?.name !== DOCKER_BRIDGE) return undefined;
      const [ipv6, cidr] = [dockerdOption(dockerd, 'ipv6'), dockerdOption(dockerd, 'fixed-cidr-v6')];
      const given = cidr && parsePrefix6(cidr.value);
      const isInside = given !== undefined && containsPrefix(v6, given);
      if (ipv6 !== undefined && ipv6.value !== 'false' && isInside) return undefined;
      const wrong =
        ipv6 === undefined || ipv6.value === 'false'
          ? 'without --ipv6'
          : cidr === undefined
            ? 'without --fixed-cidr-v6'
            : `with --fixed-cidr-v6=${cidr.value} (${cidr.from})`;
      return {
        what: `dockerd was started ${wrong}: its containers have no address of this host's IPv6 subnet ${formatPrefix(v6)}.`,
        remedy: `start dockerd with --ipv6 --fixed-cidr-v6=${formatPrefix(v6)}, which mk-docker-opts --ipv6 writes: ${REMEDY}`,
      };
    },
  },
  {
    id: 'docker-mtu',
    title: 'dockerd was started with the MTU of subnet.env (--mtu)',
    why: 'Containers then send packets that do not fit into the tunnel: small ones pass, large ones hang.',
    causes: ['container-mtu'],
    look(facts) {
      const dockerd = known(facts.dockerd);
      const { mtu } = known(facts.network);
      if (containerBridge(facts) === undefined) return undefined;
      const given = dockerdOption(dockerd, 'mtu');
      const used = given === undefined ? DEFAULT_MTU : Number(given.value);
      if (!(used > mtu)) return undefined;
      const how =
        given === undefined ? 'without --mtu, which is 1500' : `with --mtu=${given.value} (${given.from})`;
      return {
        what: `dockerd was started ${how}, and a packet of the overlay has at most ${mtu} bytes.`,
        remedy: `start dockerd with --mtu=${mtu}: ${REMEDY}; containers keep their MTU until they are made again`,
      };
    },
  },
  {
    id: 'docker-masquerade',
    title: 'Docker does not masquerade what flanneld does (--ip-masq=false)',
    why: "Docker's rule gives packets to other hosts' containers the address of this host.",
    causes: ['overlay-masqueraded'],
    look(facts) {
      const dockerd = known(facts.dockerd);
      if (!/^FLANNEL_IPMASQ=true$/m.test(facts.subnetFile ?? '')) return undefined;
      if (containerBridge(facts) === undefined) return undefined;
      const given = dockerdOption(dockerd, 'ip-masq');
      const iptables = dockerdOption(dockerd, 'iptables');
      if (given?.value === 'false' || iptables?.value === 'false') return undefined;
      return {
        what: `dockerd masquerades (${given === undefined ? 'it was started without --ip-masq=false' : `--ip-masq=${given.value}`}), and so does flanneld.`,
        remedy: `start dockerd with --ip-masq=false: ${REMEDY}`,
      };
    },
  },
  {
    id: 'bridge-missing',
    title: "a bridge has an address of this host's subnet",
    why: 'Containers get their addresses from the bridge; without it packets from peers end on this host.',
    causes: [],
    look(facts) {
      const dockerd = known(facts.dockerd);
      if (dockerdOption(dockerd, 'bip') === undefined || containerBridge(facts) !== undefined)
        return undefined;
      return {
        what: `dockerd runs, and no device has ${bipOf(facts)}.`,
        remedy: 'systemctl restart docker, which makes docker0 again',
      };
    },
  },
  {
    id: 'bridge-down',
    title: "the containers' bridge is up",
    why: 'A bridge that is down carries nothing to any container.',
    causes: [],
    look(facts) {
      const bridge = containerBridge(facts);
      return bridge?.up === false
        ? { what: `The bridge ${bridge.name} is down.`, remedy: `ip link set ${bridge.name} up` }
        : undefined;
    },
  },
  {
    id: 'port-down',
    title: "the containers' ports of the bridge are up",
    why: 'A container whose port is down is reached by nobody.',
    causes: [],
    look(facts) {
      const down = portsOf(facts).filter(({ up }) => up === false);
      return down.length === 0
        ? undefined
        : {
            what: `Containers are cut off: ${some(down.map(({ name }) => name))} of the bridge ${containerBridge(facts)?.name} ${down.length === 1 ? 'is' : 'are'} down.`,
            remedy: down.map(({ name }) => `ip link set ${name} up`).join('; '),
          };
    },
  },
  {
    id: 'container-mtu',
    title: "containers have the overlay's MTU at most",
    why: 'Containers that send larger packets depend on ICMP, which many firewalls drop: large transfers hang.',
    causes: [],
    look(facts) {
      const { mtu } = known(facts.network);
      const large = portsOf(facts).filter((port) => mtu > 0 && (port.mtu ?? 0) > mtu);
      const [first] = large;
      if (first === undefined) return undefined;
      return {
        what: `Containers have a larger MTU than the overlay's ${mtu}: ${some(large.map((port) => `${port.name} ${port.mtu}`))}.`,
        remedy: `make these containers again, after dockerd has been started with --mtu=${mtu}`,
      };
    },
  },
];

/** The devices in the containers' bridge. */
function portsOf(facts: HostFacts): HostFacts['links'] {
  const bridge = containerBridge(facts);
  if (bridge?.index === undefined || bridge.type !== 'bridge') return [];
  return facts.links.filter(({ masterIndex }) => masterIndex === bridge.index);
}
