import { readFileSync } from 'node:fs';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import type { Host } from '#src/lab/host.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX, peerSubnet } from '../leases.ts';
import { type Program, Run } from '../program.ts';

/** Started at a time: a start takes a tenth of a second of processor, and more with many leases. */
const WIDTH = 4;
const WAIT_MS = 600_000;
const ARRIVAL_MS = 60_000;

interface Agent {
  readonly host: Host;
  readonly run: Run;
  /** Routes that its host has beside those to peers, as the kernel's own count counts them. */
  others: number;
}

export interface Use {
  /** Seconds of processor of all of them. */
  readonly processor: number;
  /** MB, mean of VmRSS. */
  readonly memory: number;
}

/** Real flanneld processes, each on a host of its own. */
export class Agents {
  readonly #agents: readonly Agent[];

  private constructor(agents: readonly Agent[]) {
    this.#agents = agents;
  }

  /** Starts them and waits until each one runs. */
  static async start(
    hosts: readonly Host[],
    program: Program,
    endpoints: string,
    flags: readonly string[],
  ): Promise<Agents> {
    const agents: Agent[] = [];
    const left = hosts.values();
    const lane = async (): Promise<void> => {
      for (const host of left) {
        const run = new Run(
          host.enter([
            program.path,
            `--etcd-endpoints=${endpoints}`,
            `--etcd-prefix=${PREFIX}`,
            '--ip-masq=true',
            `--iface=${host.address}`,
            ...flags,
          ]),
        );
        agents.push({ host, run, others: 0 });
        await run.ready;
      }
    };
    await Promise.all(Array.from({ length: WIDTH }, lane));
    return new Agents(agents);
  }

  get size(): number {
    return this.#agents.length;
  }

  use(): Use {
    const memory = this.#agents.reduce((sum, { run }) => sum + run.memory().now, 0) / this.size;
    return { processor: this.#agents.reduce((sum, { run }) => sum + run.cpu(), 0), memory };
  }

  /** Waits until each has a route for every other host, by `ip route`, and counts the routes beside these. */
  async untilJoined(peers: number): Promise<void> {
    for (const agent of this.#agents) {
      const { host, run } = agent;
      const lines = ['sh', '-c', 'ip -4 route show dev flannel.1 | wc -l'];
      await until(async () => Number(await host.must(lines, { timeoutMs: 60_000 })) === peers, {
        what: `${peers} routes to peers`,
        timeoutMs: WAIT_MS,
        intervalMs: 100,
      });
      agent.others = run.routes() - peers;
    }
  }

  /** Waits until each has so many routes to peers; when that was, in milliseconds since 1970. */
  async untilRight(peers: number): Promise<number> {
    for (const { run, others } of this.#agents) {
      let found = 0;
      const look = (): boolean => {
        if (!run.isAlive) throw new Error(`it ended:\n${run.log}`);
        found = run.routes() - others;
        return found === peers;
      };
      const what = `${peers} routes`;
      await until(look, { what, timeoutMs: WAIT_MS, intervalMs: 2 }).catch((cause) => {
        throw new Error(`an agent has ${found} routes to peers instead of ${peers}`, { cause });
      });
    }
    return performance.timeOrigin + performance.now();
  }

  /** While `use` runs, remembers when each agent's kernel reported the route to a host: milliseconds since 1970, by host. */
  async arrivals(
    hosts: { readonly from: number; readonly to: number },
    use: () => Promise<void>,
  ): Promise<Map<number, number[]>> {
    const numbers = new Map<number, number>();
    for (let n = hosts.from; n < hosts.to; n++) numbers.set(peerSubnet(n), n);
    const found = new Map<number, number[]>([...numbers.values()].map((n) => [n, []]));
    const stop = new AbortController();
    const kernels = this.#agents.map(
      ({ host }) =>
        new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: `/run/netns/${host.namespace}` }),
    );
    try {
      for (const kernel of kernels) {
        await kernel.monitor((event) => {
          if (event.type !== 'changed' || event.object.kind !== 'route') return;
          const n = numbers.get(event.object.destination.address as number);
          if (n !== undefined) found.get(n)?.push(performance.timeOrigin + performance.now());
        }, stop.signal);
      }
      await use();
      await until(() => [...found.values()].every((times) => times.length >= this.size), {
        what: 'route of each host on each agent',
        timeoutMs: ARRIVAL_MS,
      });
    } finally {
      stop.abort();
      for (const kernel of kernels) kernel.close();
    }
    return found;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#agents.map(({ run }) => run.stop()));
  }
}

/** MB that this machine can give away. */
export function availableMegabytes(): number {
  const text = readFileSync('/proc/meminfo', 'utf8');
  return Number(/^MemAvailable:\s+(\d+) kB/m.exec(text)?.[1]) / 1024;
}
