import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import { startRelay, stopRelay } from '#src/lab/relay.ts';
import type { Store, StoreMember } from '#src/lab/store.ts';
import { WeftError } from '#src/lib/errors.ts';

/** What a fault is done to. */
export interface FaultTarget {
  readonly lab: Lab;
  /** The host whose kernel state is damaged. */
  readonly host: Host;
  /** The overlay's device on it. Default `flannel.1`. */
  readonly device?: string;
  /** The peer whose entries are deleted. Default: the first that the kernel lists. */
  readonly peer?: Host;
  /** For the faults of `store`: etcd, or the embedded store in its place. */
  readonly etcd?: Store;
  /** Command that runs {@link runRelay}, for `etcd-slow`; the relay's own arguments are appended. */
  readonly relay?: readonly string[];
}

/** Something that goes wrong in a network. A lab can cause it by name. */
export interface Fault {
  readonly name: string;
  /** One line: what is done. */
  readonly about: string;
  /** `host`: kernel state that the daemon should mend. `store`: lasts until {@link end}. */
  readonly kind: 'host' | 'store';
  start(target: FaultTarget): Promise<void>;
  /** Ends a lasting fault; does nothing when the daemon mends it. */
  end(target: FaultTarget): Promise<void>;
}

const SLOW_MS = 500;
const WRONG_MAC = '02:00:00:0b:ad:01';

const hostFault = (
  name: string,
  about: string,
  start: (host: Host, device: string, peer: Host | undefined) => Promise<unknown>,
): Fault => ({
  name,
  about,
  kind: 'host',
  async start({ host, device = 'flannel.1', peer }) {
    await start(host, device, peer);
  },
  async end() {},
});

const storeFault = (
  name: string,
  about: string,
  start: (store: Store, target: FaultTarget) => Promise<unknown>,
  end: (store: Store, target: FaultTarget) => Promise<unknown> = async () => {},
): Fault => ({
  name,
  about,
  kind: 'store',
  async start(target) {
    await start(storeOf(target), target);
  },
  async end(target) {
    await end(storeOf(target), target);
  },
});

const startAgain = async (store: Store): Promise<void> => {
  for (const member of store.members) await member.start();
  await store.ready();
};

/** All faults, in the order of the list that a user sees. */
export const FAULTS: readonly Fault[] = [
  hostFault('route-deleted', 'a route to a peer is deleted', async (host, device, peer) => {
    const { subnet } = await entriesFor(host, device, peer);
    await host.must(['ip', 'route', 'del', subnet, 'dev', device]);
  }),
  hostFault('neighbour-deleted', "a peer's neighbour entry is deleted", async (host, device, peer) => {
    const { gateway } = await entriesFor(host, device, peer);
    await host.must(['ip', 'neigh', 'del', gateway, 'dev', device]);
  }),
  hostFault('fdb-deleted', "a peer's forwarding entry is deleted", async (host, device, peer) => {
    const { mac, address } = await entriesFor(host, device, peer);
    await host.must(['bridge', 'fdb', 'del', mac, 'dev', device, 'dst', address, 'self']);
  }),
  hostFault('address-deleted', 'the address of the overlay device is deleted', async (host, device) => {
    // By its name: a flush goes on until there is no address, and a daemon puts this one back meanwhile.
    const [link] = await host.ip(['-4', 'addr', 'show', 'dev', device]);
    const lines = (link?.addr_info ?? []).map(
      ({ local, prefixlen }) => `addr del ${local}/${prefixlen} dev ${device}`,
    );
    if (lines.length === 0)
      throw new WeftError('lab-fault', `${device} of ${host.name} has no address to delete`);
    await host.batch(lines);
  }),
  hostFault('link-down', 'the overlay device is set down, which removes its routes', (host, device) =>
    host.must(['ip', 'link', 'set', device, 'down']),
  ),
  hostFault('mac-changed', 'the MAC of the overlay device is changed, as udev does', (host, device) =>
    host.must(['ip', 'link', 'set', device, 'address', WRONG_MAC]),
  ),
  hostFault('mtu-changed', 'the MTU of the overlay device is lowered', (host, device) =>
    host.must(['ip', 'link', 'set', device, 'mtu', '1300']),
  ),
  hostFault('device-deleted', 'the overlay device is deleted with all that is on it', (host, device) =>
    host.must(['ip', 'link', 'del', device]),
  ),
  hostFault('underlay-flapped', 'the underlay link goes down and up again', (host) =>
    host.batch(['link set eth0 down', 'link set eth0 up']),
  ),
  hostFault('rules-flushed', 'all firewall rules are flushed, as a firewall reload does', flushRules),
  hostFault('forwarding-off', 'net.ipv4.ip_forward is turned off', (host) =>
    host.must(['sysctl', '-qw', 'net.ipv4.ip_forward=0']),
  ),
  storeFault(
    'etcd-killed',
    'etcd, or the embedded store in its place, is killed',
    (store) => each(store, (it) => it.kill()),
    startAgain,
  ),
  storeFault(
    'etcd-frozen',
    'it keeps its connections and answers nothing',
    (store) => each(store, (it) => it.freeze()),
    (store) => each(store, (it) => it.thaw()),
  ),
  storeFault(
    'etcd-partitioned',
    'the link to its hosts is cut',
    (store, { lab }) => lab.onWire(store.members.map((it) => `link set ${it.host.name} down`)),
    (store, { lab }) => lab.onWire(store.members.map((it) => `link set ${it.host.name} up`)),
  ),
  storeFault(
    'etcd-member-lost',
    'one of its members is killed',
    (store) => lastOf(store).kill(),
    (store) => lastOf(store).start(),
  ),
  storeFault('etcd-compacted', 'all its past revisions are compacted away', (store) => store.compact()),
  storeFault('etcd-emptied', 'it comes back without its data', async (store) => {
    await each(store, (it) => it.kill());
    await each(store, (it) => it.wipe());
    await startAgain(store);
  }),
  storeFault(
    'etcd-slow',
    `it answers ${SLOW_MS} ms late`,
    (store, { relay }) => {
      if (relay === undefined) throw new WeftError('lab-fault', 'etcd-slow needs the relay command');
      return each(store, (it) =>
        startRelay(it.host, { port: Number(new URL(it.endpoint).port), delayMs: SLOW_MS, relay }),
      );
    },
    (store) => each(store, (it) => stopRelay(it.host)),
  ),
];

/** A fault by name; throws `no-such-fault`, naming those there are. */
export function faultCalled(name: string): Fault {
  const fault = FAULTS.find((it) => it.name === name);
  if (fault !== undefined) return fault;
  throw new WeftError('no-such-fault', `no fault is called ${name}`, {
    remedy: `choose one of ${FAULTS.map((it) => it.name).join(', ')}`,
  });
}

/**
 * A host's kernel state as text, without values that change by themselves. When it is the same before a fault and after,
 * the fault is mended. Lines are sorted, because the kernel's order is not state.
 */
export async function kernelState(host: Host, device = 'flannel.1'): Promise<string> {
  const commands = [
    ['ip', '-d', '-o', 'link', 'show', 'dev', device],
    ['ip', '-o', '-4', 'addr', 'show', 'dev', device],
    ['ip', '-d', 'route', 'show', 'dev', device],
    ['ip', 'neigh', 'show', 'dev', device, 'nud', 'permanent'],
    ['bridge', 'fdb', 'show', 'dev', device],
    ['iptables-save'],
    ['nft', '-s', 'list', 'ruleset'],
    ['sysctl', 'net.ipv4.ip_forward'],
  ];
  const script = commands.map((argv) => `${argv.join(' ')} 2>&1`).join('; ');
  const lines = (await host.must(['sh', '-c', script]))
    .split('\n')
    .filter((line) => !/^#|^:\S+ \S+ \[/.test(line));
  // A device that is made again gets another number.
  return lines
    .map((line) => line.replace(/^\d+: /, ''))
    .sort()
    .join('\n');
}

async function flushRules(host: Host): Promise<void> {
  await host.must(['nft', 'flush', 'ruleset']);
}

interface PeerEntries {
  /** Of the peer on the underlay. */
  readonly address: string;
  /** Of the peer's end of the tunnel. */
  readonly mac: string;
  readonly gateway: string;
  readonly subnet: string;
}

/** A host's kernel state for one peer: the forwarding entry, the neighbour and the route. */
async function entriesFor(host: Host, device: string, peer: Host | undefined): Promise<PeerEntries> {
  const fdb = await host.ip(['fdb', 'show', 'dev', device], 'bridge');
  const entry = fdb.find(({ dst }) => (peer === undefined ? dst !== undefined : dst === peer.address));
  const neighbours = await host.ip(['neigh', 'show', 'dev', device, 'nud', 'permanent']);
  const gateway = neighbours.find(({ lladdr }) => lladdr === entry?.mac)?.dst;
  const routes = await host.ip(['route', 'show', 'dev', device]);
  const subnet = routes.find((route) => route.gateway === gateway)?.dst;
  if (entry?.mac === undefined || entry.dst === undefined || gateway === undefined || subnet === undefined) {
    throw new WeftError('lab-fault', `${host.name} has no peer on ${device} to delete anything of`);
  }
  return { address: entry.dst, mac: entry.mac, gateway, subnet };
}

function storeOf({ etcd }: FaultTarget): Store {
  if (etcd === undefined) throw new WeftError('lab-fault', 'this fault needs a lab with a store');
  return etcd;
}

async function each(store: Store, act: (member: StoreMember) => Promise<unknown>): Promise<void> {
  for (const member of store.members) await act(member);
}

function lastOf({ members }: Store): StoreMember {
  const last = members.length > 1 ? members.at(-1) : undefined;
  if (last !== undefined) return last;
  throw new WeftError('lab-fault', 'cannot lose one member: the store has no other', {
    remedy: 'make the lab with: weft lab up --store=etcd --members=3',
  });
}
