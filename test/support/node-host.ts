import { RTNETLINK_CODECS } from '#src/kernel/codecs.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { optionsOf } from '#src/lib/go-flags.ts';
import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import { ipv4, prefix4 } from '#src/lib/ip.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { macFromBytes } from '#src/lib/mac.ts';
import { FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { NetworkClaims } from '#src/node/network-claims.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import type { FirewallUse, NetworkFirewall } from '#src/node/network-rules.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import { MemoryRegistry } from '#src/registry/memory.ts';
import { MemoryNetworks } from '#src/registry/memory-networks.ts';
import type { OpenedRegistry } from '#src/registry/open-registry.ts';
import type { Kind } from '#src/state/kind.ts';
import { Kinds } from '#src/state/kinds.ts';
import { type KernelObject, RTPROT_KERNEL } from '#src/state/object.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';

/** Files that exist only for a test. */
export class MemoryFiles implements Files {
  readonly texts = new Map<string, string>();

  async read(path: string): Promise<string | undefined> {
    return this.texts.get(path);
  }
  exists(path: string): boolean {
    return this.texts.has(path);
  }
  async write(path: string, text: string | Iterable<string>): Promise<void> {
    this.texts.set(path, typeof text === 'string' ? text : [...text].join(''));
  }
  writeAtomically(path: string, text: string | Iterable<string>): Promise<void> {
    return this.write(path, text);
  }
  async append(path: string, text: string): Promise<void> {
    this.texts.set(path, `${this.texts.get(path) ?? ''}${text}`);
  }
  async createExclusively(path: string, text: string): Promise<boolean> {
    if (this.texts.has(path)) return false;
    this.texts.set(path, text);
    return true;
  }
  async remove(path: string): Promise<void> {
    this.texts.delete(path);
  }
}

/** Locks of one host. */
export function memoryLocks(): HostLocks {
  const held = new Set<string>();
  return {
    async claim(name) {
      if (held.has(name)) return undefined;
      held.add(name);
      return async () => void held.delete(name);
    },
  };
}

/** A packet filter that remembers what was asked of it, and fails when a test says so. */
export class MemoryFirewalls {
  readonly applied: string[] = [];
  fail: (() => Error | undefined) | undefined;

  readonly make = ({ mode, instance }: FirewallUse): NetworkFirewall => {
    return {
      apply: async () => {
        const error = this.fail?.();
        if (error !== undefined) throw error;
        this.applied.push(`${mode} "${instance}"`);
        return [];
      },
      notify: () => {},
      plan: async () => [],
      cleanOther: async () => [],
      programs: async () => ({ iptables: [], nft: async () => undefined, mixed: false }),
      removeAll: async () => [`removed ${mode} "${instance}"`],
    };
  };
}

export interface MemoryHostOptions {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log?: Logger;
  readonly events?: HostEvents;
  /** What the kernel has beside the kinds of rtnetlink. */
  readonly kinds?: readonly Kind<KernelObject>[];
}

/** One host in memory: eth0 with 172.16.0.1/24, and the registry of each prefix. */
export class MemoryHost {
  readonly kernel: MemoryKernel;
  readonly files = new MemoryFiles();
  readonly firewalls = new MemoryFirewalls();
  /** Addresses that were announced on the link. */
  readonly announced: string[] = [];
  readonly registries = new Map<string, MemoryRegistry>();
  readonly reconciler: Reconciler;
  readonly parts: NetworkHost;
  /** Whether the registry answers. */
  answers = true;
  readonly #answered: (() => void)[] = [];

  constructor({ clock, signal, log = silentLogger, events = silentEvents, kinds = [] }: MemoryHostOptions) {
    this.kernel = new MemoryKernel(new Kinds([...RTNETLINK_CODECS.kinds.all, ...kinds]));
    for (const object of HOST_OBJECTS) this.kernel.interfere({ verb: 'add', object });
    this.reconciler = new Reconciler(
      { actuators: [this.kernel, new SysctlActuator({ files: this.files })], clock, log },
      { fullCheckMs: 3_600_000, fullCheckShare: 1 },
    );
    void this.reconciler.start(signal);
    this.parts = {
      identity: 'node-1',
      kernel: this.kernel,
      reconciler: this.reconciler,
      claims: new NetworkClaims(),
      locks: memoryLocks(),
      announcer: {
        announce: async ({ address }) => void this.announced.push(address.join('.')),
      },
      openRegistry: ({ prefix }, ended) => this.#open(prefix, ended),
      openNetworks: async () => new MemoryNetworks({ clock }),
      makeFirewall: this.firewalls.make,
      keepTable: () => ({ trouble: undefined, repairs: 0, start: async () => {}, remove: async () => [] }),
      observeRules: () => () => {},
      watchDrops: () => ({ troubles: [], poke: () => {}, start: () => {} }),
      commands: { run: async () => ({ code: 0, stdout: 'v1.8.9 (nf_tables)', stderr: '' }) },
      shell: async () => ({ code: 0, output: '', isCut: false }),
      programs: NO_PROGRAMS,
      files: this.files,
      secrets: { read: async () => ({}), rotated: NO_KEYS },
      folders: NO_FOLDERS,
      clock,
      random: () => 0.5,
      createLogger: () => log,
      eventsOf: () => events,
      onLoaded: () => {},
    };
    // Root, and a kernel with everything.
    this.files.texts.set('/proc/self/status', 'CapEff:\t000001ffffffffff\n');
    this.files.texts.set('/sys/module/vxlan/parameters/udp_port', '0\n');
  }

  registry(prefix: string, clock: Clock): MemoryRegistry {
    const registry = this.registries.get(prefix) ?? new MemoryRegistry({ clock });
    this.registries.set(prefix, registry);
    return registry;
  }

  /** From now on the registries answer. */
  answer(): void {
    this.answers = true;
    for (const resolve of this.#answered.splice(0)) resolve();
  }

  async #open(prefix: string, signal: AbortSignal): Promise<OpenedRegistry> {
    if (!this.answers) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      this.#answered.push(resolve);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
      await promise;
    }
    const registry = this.registries.get(prefix);
    const config = await registry?.readConfig(signal);
    if (registry === undefined || config === undefined) throw new Error(`no config at ${prefix}`);
    return { registry, config };
  }
}

const ETH0 = { network: prefix4(ipv4(0xac100000), 24), address: ipv4(0xac100001) };
const HOST_OBJECTS = [
  {
    kind: 'link',
    name: 'eth0',
    mac: macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, 1)),
    mtu: 1500,
    up: true,
    running: true,
  },
  { kind: 'address', prefix: prefix4(ETH0.address, 24), device: 'eth0' },
  {
    kind: 'route',
    destination: prefix4(ipv4(0), 0),
    type: 'unicast',
    via: ipv4(0xac1000fe),
    device: 'eth0',
    onlink: false,
    metric: 0,
    protocol: RTPROT_KERNEL,
    scope: 0,
  },
] as const;

const NO_PROGRAMS: NetworkHost['programs'] = {
  find: () => undefined,
  start: async () => Promise.reject(new Error('there are no programs')),
  endLeftover: async () => {},
  answers: async () => false,
  hangsUp: async () => {},
};

const refuse = async (): Promise<never> => {
  throw new Error('this node has no keys');
};
const NO_KEYS: NetworkHost['secrets']['rotated'] = {
  current: refuse,
  next: async () => undefined,
  makeNext: refuse,
  promote: refuse,
  ageMs: async () => 0,
};

const NO_FOLDERS: NetworkHost['folders'] = {
  make: async () => {},
  claim: async () => true,
  list: async () => [],
  listFolders: async () => [],
  remove: async () => {},
  removeTree: async () => {},
};

/** flanneld's defaults, with what a test sets. */
export const testOptions = (set: Partial<FlanneldOptions> = {}): FlanneldOptions => ({
  ...optionsOf(FLANNELD_FLAGS, new Map()),
  ...set,
});

/** The lease of a peer: 10.5.N.0/24 behind 172.16.1.N. */
export const peerValue = (n: number, address = `172.16.1.${n}`): string =>
  JSON.stringify({
    PublicIP: address,
    BackendType: 'vxlan',
    BackendData: { VtepMAC: `02:00:00:00:00:${n.toString(16).padStart(2, '0')}` },
  });
export const peerName = (n: number): string => `10.5.${n}.0-24`;
