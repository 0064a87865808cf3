import { type Check, some } from '#src/diagnose/check.ts';
import { REACH } from '#src/diagnose/checks/consequences.ts';
import { peersNow } from '#src/diagnose/checks/peers-now.ts';
import { storeOf } from '#src/diagnose/checks/registry-checks.ts';
import { known } from '#src/diagnose/facts/fact.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import { type KnownPeer, peerOf } from '#src/diagnose/known-network.ts';
import { formatIp } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { type SubnetRange, subnetCount } from '#src/network/subnet-range.ts';

/** A lease this close to its end, or a twentieth of its time, was not renewed when it should have been. */
const NEAR_MS = 600_000;
const NEAR_PART = 0.05;
/** From here on a network counts as nearly full. */
const NEARLY_FULL = 0.9;

const named = ({ lease, publicIp }: KnownPeer): string =>
  publicIp === undefined ? lease : `${lease} (${formatIp(publicIp)})`;

/** Groups of leases that share something which only one may have. */
function sharers(facts: HostFacts, of: (peer: KnownPeer) => string | undefined): KnownPeer[] | undefined {
  const { own } = known(facts.network);
  const all = [...(own === undefined ? [] : [own]), ...peersNow(facts)];
  const groups = Map.groupBy(all, of);
  for (const [key, group] of groups) if (key !== undefined && group.length > 1) return group;
  return undefined;
}

/** The network's number, where a host publishes it: flannel since 0.15 does. */
function vniIn(data: Json | undefined): number | undefined {
  const vni = isJsonObject(data) ? data.VNI : undefined;
  return typeof vni === 'number' ? vni : undefined;
}

export const LEASE_CHECKS: readonly Check[] = [
  {
    id: 'lease-taken',
    title: "this host's subnet is its own in the registry",
    why: 'Two hosts with one subnet: packets go to the one that wrote last.',
    causes: ['lease-missing', 'lease-quarantined', 'lease-near-expiry', 'duplicate-public-ip', ...REACH],
    look(facts) {
      const { own } = known(facts.network);
      const record = storeOf(facts).records.find(({ name }) => name === own?.lease);
      const holder = record && peerOf(record.name, record.value);
      if (own === undefined || holder === undefined) return undefined;
      const [mine, its] = [own.attributes.node, holder.attributes.node];
      const isOurs =
        mine !== undefined && its !== undefined ? mine === its : own.publicIp === holder.publicIp;
      if (isOurs) return undefined;
      return {
        what: `The lease ${own.lease} of this host belongs to ${holder.publicIp === undefined ? 'another host' : formatIp(holder.publicIp)} in the registry.`,
        remedy:
          'systemctl restart flanneld, which takes another subnet, then systemctl restart docker; the other host keeps this one',
      };
    },
  },
  {
    id: 'lease-missing',
    title: 'the registry has the lease of this host',
    why: 'Without the lease no other host sends to this one, and its subnet may be given to another.',
    causes: ['lease-near-expiry'],
    look(facts) {
      const { own } = known(facts.network);
      const store = storeOf(facts);
      if (own === undefined || store.config === undefined) return undefined;
      if (store.records.some(({ name }) => name === own.lease)) return undefined;
      return {
        what: `The registry has no lease ${own.lease} of this host.`,
        remedy: 'systemctl restart flanneld, which takes the same subnet again',
      };
    },
  },
  {
    id: 'lease-near-expiry',
    title: "this host's lease is not about to end",
    why: 'When it ends, other hosts remove their routes to this one.',
    causes: [],
    look(facts) {
      const { own } = known(facts.network);
      const left = known(facts.registry).ownRemainingMs;
      if (own === undefined || left === undefined) return undefined;
      if (left > Math.min(NEAR_MS, facts.options.leaseTtlMs * NEAR_PART)) return undefined;
      return {
        what: `The lease ${own.lease} of this host ends in ${Math.max(0, Math.round(left / 1000))} s, and is not renewed.`,
        remedy: 'journalctl -u flanneld -n 50 says why; systemctl restart flanneld renews it',
      };
    },
  },
  {
    id: 'duplicate-public-ip',
    title: 'each host has a public IP of its own',
    why: 'Cloned machines often have one address, 10.0.2.15: packets for one go to the other.',
    causes: ['duplicate-vtep-mac', 'lease-quarantined', ...REACH],
    look(facts) {
      const group = sharers(facts, ({ publicIp }) =>
        publicIp === undefined ? undefined : formatIp(publicIp),
      );
      const [first] = group ?? [];
      if (group === undefined || first?.publicIp === undefined) return undefined;
      return {
        what: `${group.length} leases have the public IP ${formatIp(first.publicIp)}: ${some(group.map(({ lease }) => lease))}.`,
        remedy: `start flanneld with --iface on each of these hosts, so that it takes the address that others reach; weft release SUBNET removes a dead one`,
        leases: group.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'duplicate-vtep-mac',
    title: 'each host has a VTEP MAC of its own',
    why: 'The forwarding entry of a MAC leads to one host only. Cloned machines have the same identity.',
    causes: ['lease-quarantined', ...REACH],
    look(facts) {
      const { backend } = known(facts.network);
      const group = sharers(facts, ({ attributes }) => firstIdentity(backend?.identityOf?.(attributes)));
      if (group === undefined) return undefined;
      return {
        what: `${group.length} hosts have the same VTEP MAC: ${some(group.map(named))}.`,
        remedy:
          'on a cloned host: systemctl stop flanneld; rm -r /var/lib/weft; systemd-machine-id-setup; systemctl start flanneld',
        leases: group.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'peer-vni',
    title: 'peers have our VNI',
    why: 'A host drops what comes with a VNI that it has no device for.',
    causes: ['peer-settings', 'lease-quarantined', ...REACH],
    look(facts) {
      const ours = known(facts.network).settings.VNI;
      const others = peersNow(facts).filter(({ attributes }) => {
        const vni = vniIn(attributes.backendData);
        return typeof ours === 'number' && vni !== undefined && vni !== ours;
      });
      const [first] = others;
      if (first === undefined) return undefined;
      return {
        what: `A peer has VNI ${vniIn(first.attributes.backendData)}, and ours is ${ours}: ${some(others.map(named))}.`,
        remedy: 'systemctl restart flanneld on that host: it runs with an earlier network config',
        leases: others.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'peer-backend',
    title: 'peers have our backend',
    why: 'Hosts with different backends can not send to each other.',
    causes: ['lease-quarantined', ...REACH],
    look(facts) {
      const { backend } = known(facts.network);
      if (backend === undefined) return undefined;
      const ours = backend.published.backendType;
      const others = peersNow(facts).filter(({ attributes }) => attributes.backendType !== ours);
      const [first] = others;
      if (first === undefined) return undefined;
      return {
        what: `A peer has the backend "${first.attributes.backendType}", and ours is "${ours}": ${some(others.map(named))}.`,
        remedy: 'systemctl restart flanneld on that host: it runs with an earlier network config',
        leases: others.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'lease-disputed',
    title: 'nobody has written over the lease of another host',
    why: 'Who writes such a lease wants the packets of that subnet. They go on to the host that held it for as long as a lease lives.',
    causes: [],
    look(facts) {
      const disputed = refused(facts).filter(({ isDisputed }) => isDisputed);
      if (disputed.length === 0) return undefined;
      return {
        what: `${disputed.length === 1 ? 'A lease was' : `${disputed.length} leases were`} written over by another than its key's host: ${some(disputed.map(({ lease, reason }) => `${lease}: ${reason}`))}.`,
        remedy:
          'find out who writes to the registry, and change its passwords; where the host has a new key by your own doing: weft trust forget SUBNET, on each host',
        leases: disputed.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'lease-quarantined',
    title: 'all leases can be used',
    why: 'A lease in quarantine has no route: its host is not reached from here.',
    causes: [...REACH],
    look(facts) {
      const quarantined = refused(facts).filter(({ isDisputed }) => !isDisputed);
      if (quarantined.length === 0) return undefined;
      return {
        what: `${quarantined.length === 1 ? 'A lease is' : `${quarantined.length} leases are`} not used: ${some(quarantined.map(({ lease, reason }) => `${lease}: ${reason}`))}.`,
        remedy: 'correct it on its host, or remove it: weft release SUBNET',
        leases: quarantined.map(({ lease }) => lease),
      };
    },
  },
  {
    id: 'plain-peers',
    title: 'packets to all peers are encrypted, where the network asks for it',
    why: 'What goes to a peer without a tunnel can be read and forged on the way.',
    causes: [],
    look({ daemon }) {
      const { plain = 0, accepted } = daemon.state === 'running' ? daemon.status.peers : { accepted: 0 };
      if (plain === 0) return undefined;
      return {
        what: `Packets to ${plain} of ${accepted} peers are not encrypted: they announce no WireGuard key.`,
        remedy:
          '"weft peers" names them; run a weft that knows "Encrypt" there, or set "EncryptPolicy": "require", which leaves them out',
      };
    },
  },
  {
    id: 'network-nearly-full',
    title: 'the network has subnets left',
    why: 'When all are taken the next host does not start: "out of subnets".',
    causes: [],
    look(facts) {
      const store = storeOf(facts);
      if (store.config === undefined) return undefined;
      const capacity = capacityOf(store.config);
      const used = store.records.length;
      if (capacity === undefined || used < capacity * NEARLY_FULL) return undefined;
      return {
        what: `The network has ${capacity} subnets, and ${used} are taken.`,
        remedy:
          'give back those of hosts that are gone: weft release SUBNET; or widen SubnetMin and SubnetMax in the network config',
      };
    },
  },
];

/** Leases that are not used, and which of them stand in the registry over one that is. */
function refused({ daemon }: Pick<HostFacts, 'daemon'>) {
  if (daemon.state !== 'running') return [];
  const disputed = new Set(daemon.status.trust?.disputed);
  return daemon.status.peers.quarantined.map((it) => ({ ...it, isDisputed: disputed.has(it.lease) }));
}

function capacityOf(text: string): number | undefined {
  try {
    const counts = valuesOf<SubnetRange, SubnetRange>(parseNetworkConfig(text).ranges).map(subnetCount);
    return Math.min(...counts);
  } catch {
    return undefined;
  }
}

const firstIdentity = (identity: Identity): string | undefined =>
  typeof identity === 'string' ? identity : identity?.[0];
