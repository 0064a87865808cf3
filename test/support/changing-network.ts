import assert from 'node:assert/strict';
import type { Backend } from '#src/backend/backend.ts';
import { prepareBackend } from '#src/backend/catalogue.ts';
import { ChangingBackend } from '#src/backend/changing.ts';
import { PathMoves } from '#src/backend/path-moves.ts';
import { formatPrefix, ipv4, prefix4 } from '#src/lib/ip.ts';
import { withoutPlan, withPhase, withPlan } from '#src/network/change-plan.ts';
import { progressOf } from '#src/network/change-progress.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { KernelObject } from '#src/state/object.ts';

/*
 * Hosts that change their backend together, without kernels, registry or clocks: what one of them writes reaches each other one
 * at a moment that a test chooses, the config and each lease by itself.
 */

/** From 0 (included) to 1 (excluded). */
export type Random = () => number;

const SECOND = 1_000;

const pick = <T>(items: readonly T[], random: Random): T | undefined =>
  items[Math.floor(random() * items.length)];

export class ChangingNetwork {
  readonly random: Random;
  /** Milliseconds. */
  now = 0;
  readonly nodes: ChangingNode[];
  /** The registry. */
  config: string;
  readonly leases = new Map<string, string>();
  /** Routes that lead nowhere, as they were seen. */
  readonly lost: string[] = [];
  /** Hosts that are not waited for. */
  without: string[] = [];

  constructor(count: number, backend: string, random: Random) {
    this.random = random;
    this.config = `{"Network":"10.0.0.0/16","Backend":${backend}}`;
    this.nodes = Array.from({ length: count }, (_, at) => new ChangingNode(this, at + 1));
  }

  start(): this {
    for (const node of this.nodes) node.start();
    this.settle();
    return this;
  }

  begin(to: string): void {
    this.config = withPlan(this.config, to, { id: 'c1', by: 'h1', at: '2026-01-01T00:00:00Z' });
  }

  abort(): boolean {
    if (parseNetworkConfig(this.config).change === undefined) return false;
    this.config = withPhase(this.config, 'aborted');
    return true;
  }

  /** What the command does that leads a change. */
  lead(): void {
    const { change } = parseNetworkConfig(this.config);
    if (change === undefined) return;
    const records = Array.from(this.leases, ([name, value]) => ({ name, value }));
    const { next } = progressOf(change, records, this.without);
    if (next === 'end') this.config = withoutPlan(this.config);
    else if (next !== undefined) this.config = withPhase(this.config, next);
  }

  /** One thing happens somewhere. */
  happen(): void {
    const node = pick(this.nodes, this.random);
    if (node === undefined) return;
    const dice = this.random();
    if (dice < 0.1) this.lead();
    else if (dice < 0.3) node.hearConfig();
    else if (dice < 0.7) node.hearLease(pick([...this.leases.keys()], this.random));
    else node.work();
    this.look();
  }

  /** Everything that is under way arrives. */
  settle(rounds = 40): void {
    for (let round = 0; round < rounds; round++) {
      this.now += SECOND;
      this.lead();
      for (const node of this.nodes) {
        node.hearConfig();
        for (const name of this.leases.keys()) node.hearLease(name);
        node.work();
        this.look();
      }
    }
  }

  /** Each route of each kernel leads to a device that its host has, and to that device's address. */
  look(): void {
    for (const node of this.nodes)
      for (const peer of this.nodes) {
        const fault = node === peer ? undefined : node.faultOfRouteTo(peer);
        if (fault !== undefined) this.lost.push(`${node.name} to ${peer.name}: ${fault}`);
      }
  }

  get isOver(): boolean {
    return parseNetworkConfig(this.config).change === undefined;
  }
}

export class ChangingNode {
  readonly #network: ChangingNetwork;
  readonly #number: number;
  readonly subnets;
  readonly name: string;
  readonly address;
  isAlive = false;
  /** What its daemon has in the kernel; stays when the daemon dies. */
  kernel: readonly KernelObject[] = [];
  /** Peers that can't be reached by the new path. */
  readonly cutOff = new Set<string>();
  readonly #routed = new Set<string>();
  #config = '';
  #seen = new Map<string, string>();
  #moves: PathMoves | undefined;
  #isAnnounced = false;

  constructor(network: ChangingNetwork, number: number) {
    this.#network = network;
    this.#number = number;
    this.subnets = { v4: prefix4(ipv4(0x0a000000 + number * 256), 24) };
    this.name = formatSubnetName(this.subnets);
    this.address = ipv4(0xac104600 + number);
  }

  /** From nothing, or over what an earlier daemon left. */
  start(): void {
    this.isAlive = true;
    this.#moves = undefined;
    this.#config = this.#network.config;
    this.#seen = new Map(this.#network.leases);
    const backend = this.#backend();
    this.#isAnnounced = backend instanceof ChangingBackend && backend.step.isAnnounced;
    this.#publish(backend);
    this.work();
  }

  kill(): void {
    this.isAlive = false;
  }

  hearConfig(): void {
    if (this.isAlive) this.#config = this.#network.config;
  }

  hearLease(name: string | undefined): void {
    const value = name === undefined ? undefined : this.#network.leases.get(name);
    if (this.isAlive && name !== undefined && value !== undefined) this.#seen.set(name, value);
  }

  /** Does what its config and the leases that it knows ask for. */
  work(): void {
    if (!this.isAlive) return;
    let backend = this.#backend();
    if (backend instanceof ChangingBackend) {
      const { plan } = backend;
      this.#moves ??= new PathMoves(plan.phase);
      this.#moves.use(plan.phase);
      for (const lease of this.#accepted(backend))
        this.#moves.see(lease.name, backend.sightOf(lease), lease.attributes.node !== undefined);
      // One of those that are due: the others come later.
      const now = this.#network.now;
      const [due] = this.#moves.due(now, 100);
      if (due !== undefined && this.#network.random() < 0.7)
        this.#moves.note(due[0], due[1], this.#try(backend, due[0]), now);
      const reversePath = new Map<string, string>();
      const own = { isAnnounced: this.#isAnnounced, reversePath, reversePathBefore: {} };
      this.#apply(backend.at(this.#moves.step(own)));
      this.#isAnnounced = true;
      backend = backend.at(this.#moves.step({ ...own, isAnnounced: true }));
    } else {
      this.#moves = undefined;
      this.#isAnnounced = false;
      this.#apply(backend);
    }
    this.#publish(backend);
  }

  #try(backend: ChangingBackend, name: string): string | undefined {
    const peer = this.#network.nodes.find((node) => node.name === name);
    const [device] = backend.sides.to.devices;
    const isThere = device === undefined || peer?.devices.includes(device);
    return isThere && !this.cutOff.has(name) ? undefined : 'no answer';
  }

  #backend(): Backend {
    const config = parseNetworkConfig(this.#config);
    const links = this.kernel.filter((object) => object.kind === 'link');
    const host = { links, identity: `node ${this.#number}`, instance: '' };
    const underlay = {
      name: 'eth0',
      mtu: 1500,
      address: { v4: this.address },
      publicIp: { v4: this.address },
    };
    return prepareBackend(config, host).make(underlay, this.#taken());
  }

  #taken(): LeaseAttributes | undefined {
    const decoded = decodeAttributes(this.#network.leases.get(this.name) ?? '');
    return decoded.ok ? decoded.attributes : undefined;
  }

  #publish(backend: Backend): void {
    const attributes = { publicIp: this.address, ...backend.published, node: `node ${this.#number}` };
    this.#network.leases.set(this.name, encodeAttributes(attributes));
  }

  #accepted(backend: Backend): Lease[] {
    return [...this.#seen].flatMap(([name, value]): Lease[] => {
      const decoded = decodeAttributes(value);
      const number = Number(/^10\.0\.(\d+)\./.exec(name)?.[1]);
      if (name === this.name || !decoded.ok || backend.judge(decoded.attributes) !== undefined) return [];
      const subnets = { v4: prefix4(ipv4(0x0a000000 + number * 256), 24) };
      const { attributes } = decoded;
      return [{ name, subnets, attributes, revision: 0n, expiry: { kind: 'reservation' } }];
    });
  }

  #apply(backend: Backend): void {
    const peers = this.#accepted(backend).flatMap((lease) =>
      backend.peerObjects(lease, { routeForm: 'flannel', lookup: { v4: { device: 'eth0' } } }),
    );
    this.kernel = [...backend.ownObjects(this.subnets), ...peers];
  }

  get devices(): string[] {
    return this.kernel.flatMap((object) => (object.kind === 'link' ? [object.name] : []));
  }

  /** The device by which packets to the peer's containers leave; several are a fault. */
  deviceTo(peer: ChangingNode): string | undefined {
    const destination = formatPrefix(peer.subnets.v4);
    const devices = this.kernel.flatMap((object) =>
      object.kind === 'route' && formatPrefix(object.destination) === destination
        ? [object.device ?? 'none']
        : [],
    );
    assert.ok(devices.length <= 1, `${this.name} has several routes to ${peer.name}: ${devices.join()}`);
    return devices[0];
  }

  faultOfRouteTo(peer: ChangingNode): string | undefined {
    const device = this.deviceTo(peer);
    // One that has just come need not be known yet.
    if (device === undefined) return this.#routed.has(peer.name) ? 'no route' : undefined;
    this.#routed.add(peer.name);
    if (device === 'eth0') return undefined;
    // The other host's may have another name. What counts is on the wire.
    const here = this.kernel.find((object) => object.kind === 'link' && object.name === device);
    const tunnel = here?.kind === 'link' ? here.vxlan : undefined;
    const there = peer.kernel.find(
      (object) =>
        object.kind === 'link' && object.vxlan?.vni === tunnel?.vni && object.vxlan?.port === tunnel?.port,
    );
    if (there?.kind !== 'link') return `it has no ${device}`;
    const neighbour = this.kernel.find(
      (object) =>
        object.kind === 'neighbour' && object.device === device && object.ip === peer.subnets.v4.address,
    );
    const mac = neighbour?.kind === 'neighbour' ? neighbour.mac : undefined;
    return mac === there.mac ? undefined : `${device} has ${there.mac} there, and ${mac} here`;
  }
}
