import { type ChangeStep, ChangingBackend } from '#src/backend/changing.ts';
import { PathMoves } from '#src/backend/path-moves.ts';
import { messageOf } from '#src/lib/errors.ts';
import { addressAfter, formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';
import { readChangeMember } from '#src/network/change-member.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { PathTrials, type Trial } from '#src/node/path-trials.ts';
import { loosened, type ReversePath, restored } from '#src/node/reverse-path.ts';
import type { ChangeStatus } from '#src/observe/node-status.ts';
import type { Route } from '#src/state/object.ts';

/** The network whose path changes. */
export interface ChangedNetwork {
  readonly dataPath: DataPath;
  /** Our lease's value, as the registry has it. */
  readonly written: () => string;
  /** Runs a step that may change the network; such steps run one after the other. */
  readonly inOrder: (step: () => Promise<void>) => Promise<void>;
  /** Applies what is in force again: its step has become another one. */
  readonly again: () => Promise<void>;
}

/** So many peers are tried at once. */
const TRIED_AT_ONCE = 100;
/** Between two looks: what many hosts say comes one by one. */
const PAUSE_MS = 100;
const LOOK_AGAIN_MS = 1_000;
const NOBODY: ReadonlySet<string> = new Set();

interface Change {
  readonly id: string;
  readonly moves: PathMoves;
  isAnnounced: boolean;
  trouble: string | undefined;
  reversePath: ReversePath;
}

/**
 * This node's part in a change of the network's path: it brings up the new one beside the old, tries it with each peer, moves the
 * peers' packets, and says in its lease how far it is. What it does is another step of a {@link ChangingBackend}, applied as
 * any other intent.
 */
export class PathChanger {
  readonly #parts: NetworkParts;
  readonly #network: ChangedNetwork;
  #change: Change | undefined;
  #tried: ReadonlySet<string> = NOBODY;
  #inForce = '';
  #wake: () => void = () => {};
  #isWoken = false;

  constructor(parts: NetworkParts, network: ChangedNetwork) {
    this.#parts = parts;
    this.#network = network;
  }

  /** How far it is; `undefined` while nothing changes. */
  get status(): ChangeStatus | undefined {
    const { backend } = this.#network.dataPath.intent;
    if (!(backend instanceof ChangingBackend)) return undefined;
    const { plan, step, sides } = backend;
    const { done, of, waits, trouble } = step;
    return {
      ...{ id: plan.id, phase: plan.phase, from: sides.from.type, to: sides.to.type, done, of },
      waits: Object.entries(waits).map(([lease, reason]) => ({ lease, reason })),
      ...(trouble !== undefined && { trouble }),
    };
  }

  /** The same in one clause. */
  get summary(): string | undefined {
    const { status } = this;
    if (status === undefined) return undefined;
    const { id, phase, from, to, done, of } = status;
    return `changing from ${from} to ${to} (${id}, ${phase}): done with ${done} of ${of} peers`;
  }

  /** An intent as it is to be applied now: in the step that this node has come to. */
  async inStep(intent: NetworkIntent): Promise<NetworkIntent> {
    const { backend, underlay } = intent;
    if (!(backend instanceof ChangingBackend)) return intent;
    const { plan, step } = backend;
    if (this.#change?.id !== plan.id) {
      const { isAnnounced, reversePathBefore } = step;
      const { files } = this.#parts.host;
      this.#change = {
        id: plan.id,
        moves: new PathMoves(plan.phase),
        isAnnounced,
        trouble: undefined,
        reversePath: await loosened(files, backend, underlay.name, reversePathBefore),
      };
    }
    return { ...intent, backend: backend.at(this.#stepOf(this.#change, backend)) };
  }

  /** Before a change ends, the host's source checks are what they were: both ends have one path only now. */
  async ending(next: NetworkIntent): Promise<NetworkIntent | undefined> {
    const change = this.#change;
    const { intent } = this.#network.dataPath;
    if (next.backend instanceof ChangingBackend || change === undefined) return undefined;
    this.#change = undefined;
    if (!(intent.backend instanceof ChangingBackend) || change.reversePath.wanted.size === 0)
      return undefined;
    const reversePath = await restored(this.#parts.host.files, change.reversePath);
    return { ...intent, backend: intent.backend.at({ ...intent.backend.step, reversePath }) };
  }

  /**
   * What the lease says once the intent is in force: the step that the kernel has come to. News that came while it was applied
   * belongs to the next step. In this one it would be a promise that other hosts take for kept.
   */
  announced({ backend }: NetworkIntent, attributes: LeaseAttributes): LeaseAttributes {
    const change = this.#change;
    if (!(backend instanceof ChangingBackend) || change === undefined) return attributes;
    const own = this.#network.dataPath.owner.stateOf('own');
    change.isAnnounced ||= own.isDone;
    change.trouble = own.isDone ? undefined : `${own.key}: ${own.reason ?? 'it is not there yet'}`;
    const { isAnnounced, trouble } = change;
    const { trouble: _, ...applied } = backend.step;
    const step = { ...applied, isAnnounced, ...(trouble !== undefined && { trouble }) };
    this.#inForce = textOf(backend.step);
    this.wake();
    return { ...attributes, ...backend.at(step).published };
  }

  #stepOf(change: Change, backend: ChangingBackend): ChangeStep {
    const { moves, isAnnounced, trouble, reversePath } = change;
    moves.use(backend.plan.phase);
    const gone = new Set(moves.names);
    for (const lease of this.#network.dataPath.table.leases()) {
      gone.delete(lease.name);
      moves.see(lease.name, backend.sightOf(lease), lease.attributes.node !== undefined);
    }
    for (const name of gone) moves.forget(name);
    const own = {
      isAnnounced,
      ...(trouble !== undefined && { trouble }),
      reversePath: reversePath.wanted,
      reversePathBefore: reversePath.before,
    };
    return moves.step(own, this.#tried);
  }

  wake(): void {
    this.#isWoken = true;
    this.#wake();
  }

  /** Does its part until the signal aborts, and rejects with its reason. */
  async run(signal: AbortSignal): Promise<never> {
    const { clock } = this.#parts.host;
    const stop = this.#network.dataPath.observe({ onPeers: () => this.wake(), onIntent: () => {} });
    try {
      for (;;) {
        await this.#untilWoken(signal);
        await this.#network
          .inOrder(() => this.#goOn(signal))
          .catch((error: unknown) => {
            signal.throwIfAborted();
            this.#parts.log.verbose(1, `The change of the path goes on later: ${messageOf(error)}`);
          });
        await clock.sleep(PAUSE_MS, signal);
      }
    } finally {
      stop();
    }
  }

  async #untilWoken(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.host;
    const change = this.#change;
    const waits = change !== undefined && (!change.isAnnounced || change.moves.nextTry < Infinity);
    const woken = new AbortController();
    this.#wake = () => woken.abort('woken');
    if (this.#isWoken) woken.abort('woken');
    this.#isWoken = false;
    const wait = waits ? LOOK_AGAIN_MS : LONGEST_WAIT_MS;
    await clock.sleep(wait, AbortSignal.any([signal, woken.signal])).catch(() => {});
    this.#wake = () => {};
    signal.throwIfAborted();
  }

  async #goOn(signal: AbortSignal): Promise<void> {
    const change = this.#change;
    const { intent } = this.#network.dataPath;
    if (change === undefined || !(intent.backend instanceof ChangingBackend)) return;
    await this.#try(change, intent.backend, signal);
    // A lease that changed, a peer that answered, a device that is there.
    const isAhead = textOf(this.#stepOf(change, intent.backend)) !== this.#inForce;
    if (isAhead || !change.isAnnounced) await this.#network.again();
  }

  /** Tries the new path with peers whose turn it is. */
  async #try(change: Change, backend: ChangingBackend, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts.host;
    const { moves } = change;
    if (!this.#isKnown(change)) return;
    const due = moves.due(clock.monotonic(), TRIED_AT_ONCE);
    if (due.size === 0) return;
    const outcomes = await this.#outcomes(new Set(due.keys()), backend, signal);
    for (const [name, key] of due) {
      const why = outcomes.has(name) ? outcomes.get(name) : 'it has no address that answers';
      moves.note(name, key, why, clock.monotonic());
      if (why !== undefined)
        this.#parts.log.verbose(1, `The new path to ${name} does not work yet: ${why}`, { lease: name });
    }
  }

  /** Whether the registry knows that this host takes part: before that, an abort would not wait for it. */
  #isKnown({ id }: Change): boolean {
    const decoded = decodeAttributes(this.#network.written());
    return decoded.ok && readChangeMember(decoded.attributes)?.id === id;
  }

  async #outcomes(
    names: ReadonlySet<string>,
    backend: ChangingBackend,
    signal: AbortSignal,
  ): Promise<Map<string, string | undefined>> {
    const { dataPath } = this.#network;
    const { host } = this.#parts;
    const { v4, v6 } = dataPath.intent.subnets;
    const source = (v4 ?? v6)?.address;
    const sockets = await host.measuring?.();
    if (source === undefined || sockets === undefined)
      return new Map(Array.from(names, (name) => [name, 'it can not be tried on this host']));
    const tries = new PathTrials({ ...host, icmp: sockets.icmp });
    const bytes = backend.sides.to.mtu;
    const outcomes = new Map<string, string | undefined>();
    const byDevice = new Map<string, Trial[]>();
    const byRoute: RoutedTrial[] = [];
    for (const name of names) {
      const lease = dataPath.table.lease(name);
      const to = lease && backend.insideOf(lease);
      if (lease === undefined || to === undefined) continue;
      const way = await this.#wayTo(lease, backend);
      const trial = { name, to, answers: v4 === undefined ? lease.subnets.v6 : undefined };
      if (typeof way === 'string') outcomes.set(name, way);
      else if (!isIpv4(to) || way.device === undefined || (way.via !== undefined && way.via !== to))
        byRoute.push({ ...trial, way, or: bridgeOf(lease, way, backend) });
      else byDevice.set(way.device, [...(byDevice.get(way.device) ?? []), trial]);
    }
    const take = (some: ReadonlyMap<string, string | undefined>): void => {
      for (const [name, why] of some) outcomes.set(name, why);
    };
    for (const [device, trials] of byDevice) {
      const leaveBy = (await host.kernel.links()).find(({ name }) => name === device)?.index;
      if (leaveBy === undefined)
        take(new Map(trials.map(({ name }) => [name, `there is no device ${device}`])));
      else take(await tries.run(trials, { source, leaveBy, bytes }, signal));
    }
    if (byRoute.length === 0) return outcomes;
    // A device alone says nothing there, and nothing at all in IPv6, so their own addresses get a route by the new path for as long as it takes.
    this.#tried = new Set(byRoute.map(({ name }) => name));
    try {
      await this.#network.again();
      const led: Trial[] = [];
      for (const trial of byRoute) {
        const astray = await this.#astray(trial);
        if (astray === undefined) led.push(trial);
        else outcomes.set(trial.name, astray);
      }
      take(await tries.run(led, { source, bytes }, signal));
    } finally {
      this.#tried = NOBODY;
    }
    return outcomes;
  }

  /** The route to a peer as it is to be on the new path, or why there is none. */
  async #wayTo(lease: Lease, backend: ChangingBackend): Promise<Route | string> {
    const { kernel } = this.#parts.host;
    const { publicIp, publicIpv6 } = lease.attributes;
    const lookUp = (ip: Ip | undefined) =>
      backend.sides.to.needsLookup && ip !== undefined ? kernel.routeTo(ip) : undefined;
    const [v4, v6] = [await lookUp(publicIp), await lookUp(publicIpv6)];
    const lookup = { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) };
    const path = { routeForm: 'flannel', lookup } as const;
    const route = backend.routeByNewPath(lease, path);
    return route ?? backend.whyNotByNewPath(lease, path) ?? 'there is no route to it by the new path';
  }

  /** Why packets to a peer's own address do not take the new path, although they should. */
  async #astray({ to, way }: RoutedTrial): Promise<string | undefined> {
    const found = await this.#parts.host.kernel.routeTo(to);
    // The gateway of a tunnel over IPv6 is the peer's own address, and has a route without one.
    const via = way.via === to ? undefined : way.via;
    if (found?.device === way.device && found?.via === via) return undefined;
    return `packets to ${formatIp(to)} do not take the new path yet (${found?.device ?? 'no route'})`;
  }
}

/**
 * Of IPv6, a peer answers to the first address of its subnet only where packets come by the device that has it, or no bridge makes it
 * an anycast address, too: the answer to one has to leave by the device that the question came by, whatever the routes say
 * (icmpv6_echo_reply, net/ipv6/icmp.c). The bridge has the second address.
 */
function bridgeOf(
  { subnets: { v4, v6 } }: Lease,
  { device }: Route,
  backend: ChangingBackend,
): Ip | undefined {
  const isPlain = device === undefined || !backend.devices.includes(device);
  return v4 === undefined && v6 !== undefined && isPlain ? addressAfter(v6, 1) : undefined;
}

interface RoutedTrial extends Trial {
  readonly way: Route;
}

/** A day: a timer counts up to 2³¹ − 1 ms. */
const LONGEST_WAIT_MS = 86_400_000;

const textOf = ({ moved, tried, reversePath, ...rest }: ChangeStep): string =>
  JSON.stringify([
    moved === 'all' ? moved : [...moved].sort(),
    [...tried].sort(),
    [...reversePath],
    Object.entries(rest),
  ]);
