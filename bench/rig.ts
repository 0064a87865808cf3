import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemLabComponents } from '#src/lab/components.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import { Lab } from '#src/lab/lab.ts';
import { until } from '#src/sys/until.ts';
import type { Api } from './lease-writer.ts';
import { NETWORK_CONFIG, PREFIX } from './leases.ts';
import { inRepository, type Program, Run } from './program.ts';

/** Where the leases are: etcd through one of its APIs, or the embedded store, which has the newer one. */
export type Store = Api | 'embedded';
export const LABELS: Readonly<Record<Store, string>> = {
  v2: 'etcd v2',
  v3: 'etcd v3',
  embedded: 'embedded store',
};
export const apiOf = (store: Store): Api => (store === 'v2' ? 'v2' : 'v3');

/** A registry on one host and a flanneld to be measured on another. Every run has new ones. */
export class Rig {
  readonly store: Store;
  readonly host: Host;
  readonly url: string;
  readonly #lab: Lab;
  readonly #folder: string;

  private constructor(store: Store, lab: Lab, folder: string) {
    this.store = store;
    this.#lab = lab;
    this.#folder = folder;
    this.host = lab.host('h1');
    this.url = `http://${lab.store.address}:2379`;
  }

  static async create(store: Store, signal: AbortSignal): Promise<Rig> {
    const name = `bench${process.pid}n${++made}`;
    const lab = await Lab.create(systemLabComponents(), { name, hosts: 1, signal });
    const rig = new Rig(store, lab, await mkdtemp(join(tmpdir(), 'weft-bench-')));
    try {
      if (store === 'embedded') await rig.#startEmbedded();
      else await Etcd.start(lab, { options: ['--log-level=error', '--logger=zap'] });
      await rig.worker('config', NETWORK_CONFIG);
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  async #startEmbedded(): Promise<void> {
    const { store } = this.#lab;
    const listen = `--listen=${store.address}:2379`;
    const argv = [inRepository('bin/weft'), 'store', 'serve', '--data=/var/lib/weft/store.db', listen];
    await (await store.start('store', argv)).waitForLog(/^serving/m);
  }

  /** Runs a step of bench/worker.ts on the measured host: it reaches the registry from there, and sees that kernel. */
  async worker(step: string, ...words: readonly (string | number)[]): Promise<string> {
    return this.script('bench/worker.ts', [apiOf(this.store), this.url, step, ...words]);
  }

  /** Runs a program of the repository's there. Resolves with its output. */
  script(path: string, words: readonly (string | number)[]): Promise<string> {
    const argv = [process.execPath, inRepository(path), ...words.map(String)];
    return this.host.must(argv, { timeoutMs: 3_600_000 });
  }

  fill(from: number, to: number): Promise<string> {
    return this.worker('fill', from, to);
  }

  /** A start as on a host that never had a flanneld; {@link finish} takes all of it away again. */
  start({ path, name, flags = [] }: Program): Run {
    const argv = [
      path,
      `-etcd-endpoints=${this.url}`,
      `-etcd-prefix=${PREFIX}`,
      '--ip-masq=true',
      `--iface=${this.host.address}`,
      `--subnet-file=${this.#subnetFile}`,
      ...(name === 'weft' ? [`--state-dir=${this.stateFolder}`] : []),
      ...flags,
    ];
    return new Run(this.host.enter(argv));
  }

  /** Runs a program, hands it over, and leaves the host as it was. */
  async with<T>(program: Program, use: (run: Run) => Promise<T>): Promise<T> {
    const run = this.start(program);
    try {
      return await use(run);
    } finally {
      await run.stop();
      await this.#clean();
    }
  }

  /** Routes there are before a flanneld adds its own. */
  async baseline(): Promise<number> {
    const text = await this.host.must(['cat', '/proc/net/fib_triestat']);
    return Number(/Prefixes:\s+(\d+)/.exec(text)?.[1] ?? 0);
  }

  /** Waits until the host has a route for each of `peers` leases; performance.now() then. */
  async programmed(run: Run, peers: number, baseline: number): Promise<number> {
    // Beside the peers' routes, the device's own address is in the local table.
    const wanted = baseline + peers + 1;
    await until(
      () => {
        if (!run.isAlive) throw new Error(`it ended:\n${run.log}`);
        return run.routes() >= wanted;
      },
      { what: `${wanted} routes`, timeoutMs: 900_000, intervalMs: peers > 20_000 ? 20 : 2 },
    );
    return performance.now();
  }

  /** Counts with ip and bridge: throws unless each peer has its neighbour, forwarding entry and route. */
  async assertProgrammed(peers: number): Promise<void> {
    const count = async (command: string) =>
      Number(await this.host.must(['sh', '-c', `${command} | wc -l`], { timeoutMs: 300_000 }));
    const counts = {
      neighbours: await count('ip -4 neigh show dev flannel.1 nud permanent'),
      fdb: await count('bridge fdb show dev flannel.1 | grep dst'),
      routes: await count('ip -4 route show dev flannel.1'),
    };
    for (const [kind, found] of Object.entries(counts)) {
      if (found !== peers) throw new Error(`${found} ${kind} instead of ${peers}`);
    }
  }

  /**
   * One more host that answers for all peers, inside the tunnel and outside of it: every address of theirs is its own, and
   * its device takes frames for any of their MACs.
   */
  async answerForPeers(): Promise<void> {
    const { store } = this.#lab;
    await this.host.batch([`route add 100.64.0.0/10 via ${store.address}`]);
    await store.batch([
      'route add local 100.64.0.0/10 dev lo',
      'route add local 10.0.0.0/8 dev lo',
      // What goes to the measured host's subnet must not be taken for this host's own.
      'rule add pref 10 lookup local',
      'rule del pref 0',
      `link add overlay mtu 1450 type vxlan id 1 dev eth0 local ${store.address} dstport 8472 nolearning`,
      'link set overlay up',
    ]);
    const chain = 'add chain netdev take in { type filter hook ingress device overlay priority 0; }';
    const rule = 'add rule netdev take in meta pkttype set host';
    await store.must(['nft', `add table netdev take; ${chain}; ${rule}`]);
  }

  /** The way back from there to the measured host, once it has its subnet. Undone by another call. */
  async answerTo(): Promise<void> {
    const { store } = this.#lab;
    const env = await readFileOr(this.#subnetFile, '');
    const subnet = /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(env)?.[1];
    const [device] = await this.host.ip(['link', 'show', 'flannel.1']);
    if (subnet === undefined || device?.address === undefined) throw new Error('the host has no subnet');
    await store.must(['sh', '-c', 'while ip rule del pref 5 2>/dev/null; do :; done']);
    await store.batch([
      `rule add pref 5 to ${subnet}.0/24 lookup main`,
      `route replace ${subnet}.0/24 dev overlay`,
      `neigh replace ${subnet}.0 lladdr ${device.address} dev overlay nud permanent`,
    ]);
    const entry = [String(device.address), 'dev', 'overlay', 'dst', this.host.address];
    await store.must(['bridge', 'fdb', 'replace', ...entry]);
  }

  async #clean(): Promise<void> {
    const subnet = /^FLANNEL_SUBNET=(.*)\.1\/24$/m.exec(await readFileOr(this.#subnetFile, ''))?.[1];
    await rm(this.#folder, { recursive: true, force: true });
    if (subnet !== undefined) await this.worker('remove', `${subnet}.0-24`);
    await this.host.run([
      'sh',
      '-c',
      'ip link del flannel.1; ip route flush proto 87; iptables -t nat -F; iptables -F; nft flush ruleset',
    ]);
  }

  /** Where containers of a dockerd on the measured host go. */
  get cgroup(): string {
    return this.#lab.cgroup;
  }

  get stateFolder(): string {
    return join(this.#folder, 'state');
  }

  get #subnetFile(): string {
    return join(this.#folder, 'subnet.env');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#lab.down();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

let made = 0;

async function readFileOr(path: string, otherwise: string): Promise<string> {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return otherwise;
  }
}
