import { vxlanClash } from '#src/backend/vxlan-clash.ts';
import type { Check, Finding } from '#src/diagnose/check.ts';
import { DEVICE, REACH } from '#src/diagnose/checks/consequences.ts';
import { known, knownOr, NoFact } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import type { KnownNetwork, KnownPeer } from '#src/diagnose/known-network.ts';
import { underlaySaid } from '#src/diagnose/known-underlay.ts';
import { formatIp, formatPrefix, type Ip, isIpv4 } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { type KernelObject, KINDS, type Link } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';

const RESTART = 'systemctl restart flanneld';

/** What the backend wants of this host once; throws NoFact where the backend is not known. */
export function ownObjects(network: KnownNetwork): readonly KernelObject[] {
  if (network.backend === undefined)
    throw new NoFact({
      kind: 'unknown',
      why: 'the backend of the network is not known: there is no state file',
    });
  return network.backend.ownObjects(network.subnets);
}

/** The overlay's devices as they should be. Throws NoFact where the backend has none. */
export function wantedLinks(facts: HostFacts): readonly Link[] {
  const links = ownObjects(known(facts.network)).filter((object) => object.kind === 'link');
  if (links.length === 0) throw new NoFact({ kind: 'absent', why: 'the backend has no device of its own' });
  return links as readonly Link[];
}

interface Pair {
  readonly wanted: Link;
  readonly found: Link;
}

/** Devices that are there, beside what they should be. */
const pairsOf = (facts: HostFacts): Pair[] =>
  wantedLinks(facts).flatMap((wanted) => {
    const found = facts.links.find(({ name }) => name === wanted.name);
    return found === undefined ? [] : [{ wanted, found }];
  });

/** The first device of which something is wrong. */
function firstPair(facts: HostFacts, look: (pair: Pair) => Finding | undefined): Finding | undefined {
  for (const pair of pairsOf(facts)) {
    const finding = look(pair);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

/**
 * The addresses that a device of this host should have. Behind a NAT they are not the public IPs: a flanneld that runs says
 * which ones they are, and without one they are not known.
 */
function sourcesOf({ daemon, options }: HostFacts, own: KnownPeer | undefined): readonly Ip[] {
  if (daemon.state === 'running')
    return valuesOf<Ip, Ip>(underlaySaid(daemon.status.network)?.addresses ?? {});
  const { publicIp, publicIpv6 } = own?.attributes ?? {};
  return [
    ...(publicIp !== undefined && options.publicIp === '' ? [publicIp] : []),
    ...(publicIpv6 !== undefined && options.publicIpv6 === '' ? [publicIpv6] : []),
  ];
}

export const DEVICE_CHECKS: readonly Check[] = [
  {
    id: 'kernel-module',
    title: "the kernel has the backend's type of device",
    why: 'Without the module no device of the overlay can be made.',
    causes: ['device-missing', 'daemon-not-running', ...REACH],
    look(facts) {
      const missing = known(facts.modules).find(({ loaded, installed }) => !loaded && installed === false);
      if (missing === undefined || pairsOf(facts).length > 0) return undefined;
      const { module, buildOption } = missing;
      return {
        what: `The running kernel has no module ${module} (${buildOption}).`,
        remedy: `apt install linux-modules-extra-$(uname -r), or run a kernel with ${buildOption}; then modprobe ${module}`,
      };
    },
  },
  {
    id: 'device-conflict',
    title: 'no other device has our VNI or port',
    why: 'The kernel gives a VNI on a port to one device only, and a port to one kind of socket.',
    causes: ['device-missing', 'daemon-not-running', ...REACH],
    look(facts) {
      for (const { name, vxlan } of wantedLinks(facts)) {
        if (vxlan?.local === undefined) continue;
        const clash = vxlanClash({ ...vxlan, device: name, local: vxlan.local }, facts.links);
        if (clash === undefined) continue;
        return {
          what: `The device ${name} can't be made or carries nothing: ${clash.text}.`,
          remedy: `ip link del ${clash.device}, or set another "VNI" or "Port" in the network config`,
        };
      }
      return undefined;
    },
  },
  {
    id: 'port-taken',
    title: "no other program has the tunnel's UDP port",
    why: 'A program that has the port gets the packets of the tunnel, or keeps the device from being made.',
    causes: ['device-missing', 'device-down', 'daemon-not-running', ...REACH],
    look(facts) {
      const ports = wantedLinks(facts).flatMap(({ vxlan }) => vxlan?.port ?? []);
      const holder = known(facts.sockets).find(({ port, pid }) => pid !== undefined && ports.includes(port));
      return (
        holder && {
          what: `The program ${holder.process} (process ${holder.pid}) has UDP port ${holder.port}, which the tunnel needs.`,
          remedy: `stop it ("kill ${holder.pid}", and its unit: "systemctl status ${holder.pid}"), or set another "Port" in the network config`,
        }
      );
    },
  },
  {
    id: 'underlay-gone',
    title: 'a device of this host has its public IP',
    why: 'Other hosts send the packets of the tunnel to this address.',
    causes: ['device-settings', 'device-mtu', 'underlay-down', 'registry-unreachable', ...REACH],
    look(facts) {
      const { own } = known(facts.network);
      const has = (ip: Ip): boolean => facts.addresses.some(({ prefix }) => prefix.address === ip);
      const ip = sourcesOf(facts, own).find((source) => !has(source));
      if (ip === undefined) return undefined;
      return {
        what: `No device of this host has ${formatIp(ip)}, the address that the tunnel's packets come from and go to.`,
        remedy:
          facts.daemon.state === 'running'
            ? `give the address back to its device, or ${RESTART}, which publishes another one`
            : `${RESTART}, which publishes the new address; behind a NAT start it with --public-ip${isIpv4(ip) ? '' : 'v6'}=${formatIp(ip)}`,
      };
    },
  },
  {
    id: 'underlay-down',
    title: 'the underlay has a carrier',
    why: 'All packets of the overlay leave by this device.',
    causes: ['registry-unreachable', 'registry-member', ...REACH],
    look(facts) {
      const { underlay } = known(facts.network);
      const link = facts.links.find(({ name }) => name === underlay?.name);
      if (link === undefined || (link.up !== false && link.running !== false)) return undefined;
      return {
        what: `The underlay ${link.name} ${link.up === false ? 'is down' : 'has no carrier'}.`,
        remedy:
          link.up === false ? `ip link set ${link.name} up` : `check the cable or the switch of ${link.name}`,
      };
    },
  },
  {
    id: 'underlay-mtu',
    title: 'the underlay carries the packets of the overlay with their headers',
    why: 'Packets that are longer than the underlay takes are lost, while short ones pass: connections hang.',
    causes: ['device-mtu', 'docker-mtu', 'container-mtu', 'subnet-file', 'path-mtu'],
    look(facts) {
      const { underlay, backend } = known(facts.network);
      if (underlay === undefined || backend === undefined) return undefined;
      const written = Number(/^FLANNEL_MTU=(\d+)$/m.exec(facts.subnetFile ?? '')?.[1] ?? 0);
      const [pair] = pairsOf(facts);
      // What a running daemon follows is not wrong any more; its containers may be.
      const used = Math.min(written, pair?.found.mtu ?? written);
      if (used <= backend.mtu) return undefined;
      const needed = used + underlay.mtu - backend.mtu;
      return {
        what: `The underlay ${underlay.name} has an MTU of ${underlay.mtu}, and the overlay's packets of ${used} bytes need ${needed}.`,
        remedy: `ip link set ${underlay.name} mtu ${needed}, or ${RESTART} and start Docker again with the MTU of ${facts.place.subnetFile}`,
      };
    },
  },
  {
    id: 'device-missing',
    title: "the overlay's device is there",
    why: 'Without the device there is no tunnel, and no route to any peer.',
    causes: [...DEVICE, ...REACH],
    look(facts) {
      const missing = wantedLinks(facts).find(({ name }) => !facts.links.some((link) => link.name === name));
      return (
        missing && {
          what: `The device ${missing.name} is missing.`,
          remedy: `${RESTART}, which makes it: ${commandOf({ verb: 'add', object: missing })}`,
        }
      );
    },
  },
  {
    id: 'device-down',
    title: "the overlay's device is up",
    why: 'A device that is down carries nothing, and its routes are gone.',
    causes: ['route-missing', 'neighbour-missing', ...REACH],
    look: (facts) =>
      firstPair(facts, ({ found }) =>
        found.up === false
          ? {
              what: `The device ${found.name} is down.`,
              remedy: `ip link set ${found.name} up, then ${RESTART} for its routes`,
            }
          : undefined,
      ),
  },
  {
    id: 'device-settings',
    title: "the overlay's device has the network's VNI, port and address",
    why: 'Peers drop what comes with another VNI or from another address.',
    causes: [
      'device-down',
      'device-mtu',
      'vtep-mac',
      'vtep-address',
      'fdb-missing',
      'route-missing',
      ...REACH,
    ],
    look: (facts) =>
      firstPair(facts, ({ wanted, found }) => {
        const differences = KINDS.of(wanted).mustRecreate(wanted, found);
        if (differences.length === 0) return undefined;
        return {
          what: `The device ${found.name} differs from the network config (wanted vs found): ${differences.join('; ')}.`,
          remedy: `ip link del ${found.name}; ${RESTART}`,
        };
      }),
  },
  {
    id: 'vtep-mac',
    title: "the overlay's device has the MAC of this host's lease",
    why: 'Peers send to the MAC of the lease; the kernel drops frames for another one. udev and NetworkManager change MACs. The kernel forgets neighbours then.',
    causes: ['neighbour-missing', ...REACH],
    look: (facts) =>
      firstPair(facts, ({ wanted, found }) =>
        wanted.mac === undefined || wanted.mac === found.mac
          ? undefined
          : {
              what: `The device ${found.name} has the MAC ${found.mac}, and peers send to ${wanted.mac}.`,
              remedy: `ip link set ${found.name} address ${wanted.mac}`,
            },
      ),
  },
  {
    id: 'device-mtu',
    title: "the overlay's device has the MTU that the underlay leaves",
    why: 'With a larger one long packets are lost; with a smaller one containers send packets that the host can not.',
    causes: ['path-mtu'],
    look: (facts) =>
      firstPair(facts, ({ wanted, found }) =>
        wanted.mtu === undefined || wanted.mtu === found.mtu
          ? undefined
          : {
              what: `The device ${found.name} has an MTU of ${found.mtu}, and ${wanted.mtu} is right.`,
              remedy: `ip link set ${found.name} mtu ${wanted.mtu}`,
            },
      ),
  },
  {
    id: 'vtep-address',
    title: "the overlay's device has the first address of this host's subnet",
    why: "It is the source of the host's own packets to containers of other hosts; without it they get no answers.",
    causes: ['route-missing', 'neighbour-missing', ...REACH],
    look(facts) {
      for (const object of ownObjects(known(facts.network))) {
        if (object.kind !== 'address' || !facts.links.some(({ name }) => name === object.device)) continue;
        const has = facts.addresses.some(
          ({ device, prefix }) => device === object.device && prefix.address === object.prefix.address,
        );
        if (!has)
          return {
            what: `The device ${object.device} lacks its address ${formatPrefix(object.prefix)}.`,
            remedy: commandOf({ verb: 'add', object }),
          };
      }
      return undefined;
    },
  },
  {
    id: 'networkmanager',
    title: "NetworkManager leaves the overlay's devices alone",
    why: 'NetworkManager removes addresses and routes of devices that it takes for its own.',
    causes: [],
    look: (facts) => managed(facts, 'NetworkManager'),
  },
  {
    id: 'networkd',
    title: "systemd-networkd leaves the overlay's devices alone",
    why: 'When it starts again, systemd-networkd removes routes that it did not make.',
    causes: [],
    look: (facts) => managed(facts, 'systemd-networkd'),
  },
];

const DROP_INS = {
  NetworkManager: String.raw`printf '[keyfile]\nunmanaged-devices=interface-name:flannel*\n' > /etc/NetworkManager/conf.d/flannel.conf && systemctl reload NetworkManager`,
  'systemd-networkd': String.raw`printf '[Match]\nName=flannel*\n\n[Link]\nUnmanaged=yes\n' > /etc/systemd/network/10-flannel.network && networkctl reload`,
} as const;

function managed(facts: HostFacts, name: keyof typeof DROP_INS): Finding | undefined {
  const devices = knownOr(facts.network, undefined)?.backend?.devices ?? [];
  const manager = facts.linkManagers.find((it) => it.name === name);
  if (manager === undefined || manager.leavesAlone || devices.length === 0) return undefined;
  return {
    what: `${name} runs, and no file of it says that ${devices.join(' and ')} is not its own.`,
    remedy: DROP_INS[name],
  };
}
