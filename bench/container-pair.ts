import { bridgeOptionsOf, type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Etcd } from '#src/lab/etcd.ts';
import type { Lab } from '#src/lab/lab.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { until } from '#src/sys/until.ts';
import type { Program } from './program.ts';
import type { Quantity } from './quantities.ts';
import { measureOn, TrafficEnds } from './traffic-ends.ts';
import { WIRE, WIRE_ADDRESSES, Wire } from './wire.ts';

/** One way to connect two hosts' containers. */
export interface Variant {
  readonly name: string;
  /** The flanneld of both hosts; without one, the hosts themselves are the ends. */
  readonly program?: Program;
  /** Default true. */
  readonly masquerade?: boolean;
  /** `EnableNFTables` of the network config. Default false. */
  readonly nftables?: boolean;
  /** net.bridge.bridge-nf-call-iptables, which Docker turns on: bridged packets pass iptables too. Default true. */
  readonly bridgeNetfilter?: boolean;
  /** `Backend.Type` of the network config. Default `vxlan`. */
  readonly backend?: string;
  /** Further flags of each host's flanneld. Default none. */
  readonly flags?: readonly [readonly string[], readonly string[]];
  /** Of the underlay. Default 1500. */
  readonly mtu?: number;
}

const NETWORK = '10.244.0.0/16';
const START_MS = 30_000;

/** Two hosts with a cable of their own between them, their flanneld, and a container on each. */
export class ContainerPair {
  readonly variant: Variant;
  readonly #wire: Wire;
  readonly #daemons: Daemon[] = [];
  #ends: TrafficEnds;

  private constructor(variant: Variant, wire: Wire) {
    this.variant = variant;
    this.#wire = wire;
    const [client, server] = wire.hosts;
    this.#ends = new TrafficEnds(client, server, WIRE_ADDRESSES[1]);
  }

  /** Makes hosts number `first` and the next, and waits until their containers reach each other. */
  static async create(lab: Lab, etcd: Etcd, first: number, variant: Variant): Promise<ContainerPair> {
    const hosts = [
      await lab.addHost(`h${first}`, first),
      await lab.addHost(`h${first + 1}`, first + 1),
    ] as const;
    const pair = new ContainerPair(variant, await Wire.connect(hosts, variant.mtu));
    if (variant.program !== undefined) await pair.#join(etcd, variant.program, `/bench/h${first}`);
    return pair;
  }

  async #join(etcd: Etcd, program: Program, prefix: string): Promise<void> {
    const { masquerade = true, nftables = false, bridgeNetfilter = true, backend = 'vxlan' } = this.variant;
    const config = { Network: NETWORK, EnableNFTables: nftables, Backend: { Type: backend } };
    const [api, put] = program.apis.includes('v2') ? ([2, 'set'] as const) : ([3, 'put'] as const);
    await etcd.must(api, [put, `${prefix}/config`, JSON.stringify(config)]);
    const containers: Container[] = [];
    for (const [n, host] of this.#wire.hosts.entries()) {
      const daemon = await host.start('flanneld', [
        program.path,
        `-etcd-endpoints=${etcd.endpoints.join()}`,
        `-etcd-prefix=${prefix}`,
        `--ip-masq=${masquerade}`,
        `--iface=${WIRE}`,
        ...(program.flags ?? []),
        ...(this.variant.flags?.[n] ?? []),
      ]);
      this.#daemons.push(daemon);
      // flannel of every version says it in these words.
      await daemon.waitForLog(/Running backend/, START_MS);
      await host.must(['sysctl', '-qw', `net.bridge.bridge-nf-call-iptables=${Number(bridgeNetfilter)}`]);
      await makeBridge(host, bridgeOptionsOf((await host.read('/run/flannel/subnet.env')) ?? ''));
      containers.push(await makeContainer(host, 'c'));
    }
    const [client, server] = containers;
    if (client === undefined || server === undefined) throw new Error('a pair is two hosts');
    await until(async () => (await pingOnce(client, server)).ms !== undefined, {
      what: `answer from container to container with ${this.variant.name}`,
      timeoutMs: START_MS,
      signal: client.signal,
    });
    this.#ends = new TrafficEnds(client, server, server.address);
  }

  /** Stops its daemons where they are: the kernel forwards by itself, and none of them takes a processor meanwhile. */
  freeze(): void {
    for (const daemon of this.#daemons) daemon.kill('SIGSTOP');
  }

  /** Runs bench/traffic.ts on both ends. Resolves with the figures that they report. */
  measure(quantity: Quantity): Promise<Readonly<Record<string, number>>> {
    return measureOn(this.#wire, this.#ends, quantity);
  }
}
