import { setTimeout as delay } from 'node:timers/promises';
import { bridgeOptionsOf, type Container, makeBridge, makeContainer } from '#src/lab/container.ts';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { Machine } from '#src/lab/machine.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { until } from '#src/sys/until.ts';
import { inRepository, type Program } from './program.ts';
import type { TrafficKind } from './traffic.ts';

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
  /** Of the underlay. Default 1500. */
  readonly mtu?: number;
}

/** Processors of the two ends. */
export interface Placement {
  readonly client: number;
  readonly server: number;
}

const NETWORK = '10.244.0.0/16';
const ADDRESSES = ['192.0.2.1', '192.0.2.2'] as const; // TEST-NET-1, RFC 5737
const START_MS = 30_000;

/** Two hosts with a cable of their own between them, their flanneld, and a container on each. */
export class ContainerPair {
  readonly variant: Variant;
  readonly #hosts: readonly [Host, Host];
  readonly #daemons: Daemon[] = [];
  #client: Machine;
  #server: Machine;
  #address: string = ADDRESSES[1];
  #samples = 0;

  private constructor(variant: Variant, hosts: readonly [Host, Host]) {
    this.variant = variant;
    this.#hosts = hosts;
    [this.#client, this.#server] = hosts;
  }

  /** Makes hosts number `first` and the next, and waits until their containers reach each other. */
  static async create(lab: Lab, etcd: Etcd, first: number, variant: Variant): Promise<ContainerPair> {
    const hosts = [
      await lab.addHost(`h${first}`, first),
      await lab.addHost(`h${first + 1}`, first + 1),
    ] as const;
    const pair = new ContainerPair(variant, hosts);
    await pair.#connect();
    if (variant.program !== undefined) await pair.#join(etcd, variant.program, `/bench/h${first}`);
    return pair;
  }

  /** A veth pair from host to host, with nothing else on the way. */
  async #connect(): Promise<void> {
    const [left, right] = this.#hosts;
    const { mtu = 1500 } = this.variant;
    const end = `name wire0 mtu ${mtu}`;
    await left.batch([`link add ${end} type veth peer ${end} netns ${right.namespace}`]);
    for (const [index, host] of this.#hosts.entries()) {
      await host.batch([`addr add ${ADDRESSES[index]}/24 dev wire0`, 'link set wire0 up']);
    }
  }

  async #join(etcd: Etcd, program: Program, prefix: string): Promise<void> {
    const { masquerade = true, nftables = false, bridgeNetfilter = true } = this.variant;
    const config = { Network: NETWORK, EnableNFTables: nftables, Backend: { Type: 'vxlan' } };
    const [api, put] = program.apis.includes('v2') ? ([2, 'set'] as const) : ([3, 'put'] as const);
    await etcd.must(api, [put, `${prefix}/config`, JSON.stringify(config)]);
    const containers: Container[] = [];
    for (const host of this.#hosts) {
      const daemon = await host.start('flanneld', [
        program.path,
        `-etcd-endpoints=${etcd.endpoints.join()}`,
        `-etcd-prefix=${prefix}`,
        `--ip-masq=${masquerade}`,
        '--iface=wire0',
        ...(program.flags ?? []),
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
    [this.#client, this.#server, this.#address] = [client, server, server.address];
  }

  /** Stops its daemons where they are: the kernel forwards by itself, and none of them takes a processor meanwhile. */
  freeze(): void {
    for (const daemon of this.#daemons) daemon.kill('SIGSTOP');
  }

  /**
   * Without offloads a big TCP packet is cut up before the wire and put together again behind it, as with a network
   * card that does not know VXLAN; with them, a veth takes it across whole.
   */
  async offload(on: boolean): Promise<void> {
    const [yes, no] = on ? ['on', 'off'] : ['off', 'on'];
    const features = SEGMENTATION.flatMap((feature) => [feature, yes]);
    for (const host of this.#hosts) await host.must(['ethtool', '-K', 'wire0', ...features, 'gro', no]);
  }

  /** Runs bench/traffic.ts on both ends. Resolves with the figures that they report. */
  async measure(kind: TrafficKind, on: Placement, ms: number): Promise<Readonly<Record<string, number>>> {
    const traffic = (cpu: number, words: readonly string[]) => [
      ...['taskset', '-c', String(cpu), process.execPath, inRepository('bench/traffic.ts')],
      ...words,
    ];
    // A log holds one run.
    const server = await this.#server.start(`server-${++this.#samples}`, traffic(on.server, ['serve', kind]));
    await server.waitForLog(/^serving$/m);
    await delay(SETTLE_MS);
    const sent = await this.#client.must(traffic(on.client, ['send', kind, this.#address, String(ms)]), {
      timeoutMs: ms + START_MS,
    });
    const code = await server.exited();
    const received = (await server.log()).trim().split('\n').at(-1) ?? '';
    if (code !== 0)
      throw new Error(`${this.variant.name}, ${kind}: the server ended with ${code}: ${received}`);
    return { ...JSON.parse(sent), ...JSON.parse(received) };
  }
}

const SETTLE_MS = 20;
const SEGMENTATION = [
  'tso',
  'gso',
  'tx-udp_tnl-segmentation',
  'tx-udp_tnl-csum-segmentation',
  'tx-udp-segmentation',
];
