import { systemLabComponents } from '#src/lab/components.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import { Lab } from '#src/lab/lab.ts';
import { until } from '#src/sys/until.ts';
import { NETWORK_CONFIG, PREFIX } from '../leases.ts';
import type { Member } from './connection-pool.ts';
import { type EtcdFigures, processorSeconds } from './etcd-figures.ts';
import { LoadProcess } from './load-process.ts';

const PORT = 2379;
const PROXY_PORT = 23790;

export interface RigOptions {
  readonly members: 1 | 3;
  /** Hosts for real agents. */
  readonly agents: number;
  /** A gRPC proxy between etcd and the played hosts. */
  readonly proxy: boolean;
  readonly signal: AbortSignal;
}

/** What a server had done by some moment. */
export interface Reading extends EtcdFigures {
  /** performance.now() */
  readonly at: number;
  /** Seconds. */
  readonly processor: number;
}

/**
 * A registry, hosts for real agents, and one that plays all other hosts.
 *
 *     store, store2, store3 ── router ── load (all played hosts)
 *                                 │└──── proxy (etcd's gRPC proxy, in some runs)
 *                              h1 … hN (an agent each)
 */
export class ScaleRig {
  readonly lab: Lab;
  readonly etcd: Etcd;
  readonly load: LoadProcess;
  readonly #daemons: readonly Daemon[];
  readonly #proxy: { readonly daemon: Daemon; readonly host: Host } | undefined;

  private constructor(
    lab: Lab,
    etcd: Etcd,
    parts: {
      load: LoadProcess;
      daemons: readonly Daemon[];
      proxy: { daemon: Daemon; host: Host } | undefined;
    },
  ) {
    this.lab = lab;
    this.etcd = etcd;
    this.load = parts.load;
    this.#daemons = parts.daemons;
    this.#proxy = parts.proxy;
  }

  static async create({ members, agents, proxy, signal }: RigOptions): Promise<ScaleRig> {
    const name = `bench${process.pid}n${++made}`;
    const lab = await Lab.create(systemLabComponents(), { name, hosts: agents, underlay: 'l3', signal });
    let load: LoadProcess | undefined;
    try {
      const etcd = await Etcd.start(lab, { members, options: ['--log-level=error', '--logger=zap'] });
      await etcd.put(`${PREFIX}/config`, NETWORK_CONFIG);
      const daemons: Daemon[] = [];
      for (const { host } of etcd.members) {
        const daemon = await host.daemon('etcd');
        if (daemon !== undefined) daemons.push(daemon);
      }
      load = new LoadProcess(await lab.addHost('load', agents + 1));
      const between = proxy ? await startProxy(lab, etcd, agents + 2) : undefined;
      return new ScaleRig(lab, etcd, { load, daemons, proxy: between });
    } catch (error) {
      await load?.stop();
      await lab.down();
      throw error;
    }
  }

  /** For an agent each. */
  get agentHosts(): Host[] {
    return this.lab.hosts.filter(({ name }) => /^h\d+$/.test(name));
  }

  get endpoints(): string {
    return this.etcd.endpoints.join();
  }

  /** Where the played hosts ask. */
  get asked(): Member[] {
    if (this.#proxy !== undefined) return [{ host: this.#proxy.host.address, port: PROXY_PORT }];
    return this.etcd.members.map(({ host }) => ({ host: host.address, port: PORT }));
  }

  /** All members of etcd together. */
  async read(): Promise<Reading> {
    const readings: Reading[] = [];
    for (const [at, daemon] of this.#daemons.entries()) {
      const endpoint = this.etcd.endpoints[at];
      if (endpoint === undefined || !daemon.isAlive()) continue;
      readings.push(await this.#readOne(daemon, `${endpoint}/metrics`));
    }
    return readings.reduce((sum, reading) => added(sum, reading));
  }

  async readProxy(): Promise<Reading | undefined> {
    if (this.#proxy === undefined) return undefined;
    const { daemon, host } = this.#proxy;
    return this.#readOne(daemon, `http://${host.address}:${PROXY_PORT}/metrics`);
  }

  /** Which member leads: its number. */
  async leader(): Promise<number> {
    const answers = JSON.parse(await this.etcd.must(3, ['endpoint', 'status', '-w', 'json'])) as readonly {
      readonly Endpoint: string;
      readonly Status: { readonly leader: number; readonly header: { readonly member_id: number } };
    }[];
    const leading = answers.find(({ Status: { leader, header } }) => leader === header.member_id);
    const at = this.etcd.endpoints.indexOf(leading?.Endpoint ?? '');
    if (at >= 0) return at;
    throw new Error('etcd has no leader');
  }

  async #readOne(daemon: Daemon, url: string): Promise<Reading> {
    const figures = await this.load.figures(url);
    return { ...figures, at: performance.now(), processor: processorSeconds(daemon.pid) };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.load.stop();
    await this.lab.down();
  }
}

async function startProxy(lab: Lab, etcd: Etcd, number: number): Promise<{ daemon: Daemon; host: Host }> {
  const host = await lab.addHost('proxy', number);
  const listen = `${host.address}:${PROXY_PORT}`;
  const daemon = await host.start('grpc-proxy', [
    'etcd',
    'grpc-proxy',
    'start',
    `--endpoints=${etcd.endpoints.join()}`,
    `--listen-addr=${listen}`,
    `--advertise-client-url=${listen}`,
  ]);
  await until(async () => (await host.run(['etcdctl', `--endpoints=${listen}`, 'get', 'x'])).code === 0, {
    what: 'gRPC proxy',
    signal: lab.signal,
  });
  return { daemon, host };
}

const added = (one: Reading, other: Reading): Reading => {
  const sum: Record<string, number> = { ...one };
  for (const [name, value] of Object.entries(other)) sum[name] = (sum[name] ?? 0) + Number(value);
  return { ...(sum as unknown as Reading), at: one.at };
};

let made = 0;
