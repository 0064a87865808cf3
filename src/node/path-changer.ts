import { type ChangeStep, ChangingBackend } from '#src/backend/changing.ts';
import { PathMoves } from '#src/backend/path-moves.ts';
import { messageOf } from '#src/lib/errors.ts';
import { formatIp, type Ipv4, isIpv4 } from '#src/lib/ip.ts';
import { readChangeMember } from '#src/network/change-member.ts';
import type { Lease, LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { NetworkIntent } from '#src/node/network-intent.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { PathTrials, type Trial } from '#src/node/path-trials.ts';
import { loosened, type ReversePath, restored } from '#src/node/reverse-path.ts';

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

  /** How far it is, in one clause; `undefined` while nothing changes. */
  get summary(): string | undefined {
    const { backend } = this.#network.dataPath.intent;
    if (!(backend instanceof ChangingBackend)) return undefined;
    const { plan, step, sides } = backend;
    return `changing from ${sides.from.type} to ${sides.to.type} (${plan.id}, ${plan.phase}): done with ${step.done} of ${step.of} peers`;
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

  /** What the lease says once the intent is in force. */
  announced({ backend }: NetworkIntent, attributes: LeaseAttributes): LeaseAttributes {
    const change = this.#change;
    if (!(backend instanceof ChangingBackend) || change === undefined) return attributes;
    const own = this.#network.dataPath.owner.stateOf('own');
    change.isAnnounced ||= own.isDone;
    change.trouble = own.isDone ? undefined : `${own.key}: ${own.reason ?? 'it is not there yet'}`;
    const step = this.#stepOf(change, backend);
    this.#inForce = textOf(step);
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
    const { to } = backend.sides;
    const source = dataPath.intent.subnets.v4?.address;
    const sockets = await host.measuring?.();
    if (source === undefined || sockets === undefined)
      return new Map(Array.from(names, (name) => [name, 'it can not be tried on this host']));
    const leases = [...names].flatMap((name) => dataPath.table.lease(name) ?? []);
    const trials = leases.flatMap((lease): Trial[] => {
      const to = backend.insideOf(lease);
      return to !== undefined && isIpv4(to) ? [{ name: lease.name, to }] : [];
    });
    const tries = new PathTrials({ ...host, icmp: sockets.icmp });
    if (!to.inbound.underlay) {
      const links = await host.kernel.links();
      const leaveBy = links.find(({ name }) => name === to.devices[0])?.index;
      if (leaveBy === undefined)
        return new Map(trials.map(({ name }) => [name, `there is no device ${to.devices[0]}`]));
      return tries.run(trials, { source, leaveBy, bytes: to.mtu }, signal);
    }
    // There is no device to name, so their own addresses get a route by the new path for as long as it takes.
    this.#tried = names;
    try {
      await this.#network.again();
      const led = await this.#led(leases, backend);
      const outcomes = await tries.run(
        trials.filter(({ name }) => led.get(name) === undefined),
        { source, bytes: to.mtu },
        signal,
      );
      return new Map([...led, ...outcomes]);
    } finally {
      this.#tried = NOBODY;
    }
  }

  /** Why packets to a peer's own address do not take the new path now. */
  async #led(leases: readonly Lease[], backend: ChangingBackend): Promise<Map<string, string>> {
    const { kernel } = this.#parts.host;
    const led = new Map<string, string>();
    for (const lease of leases) {
      const inside = backend.insideOf(lease);
      const outside: Ipv4 | undefined = lease.attributes.publicIp;
      if (inside === undefined || outside === undefined) continue;
      const lookup = await kernel.routeTo(outside);
      const path = { routeForm: 'flannel', ...(lookup !== undefined && { lookup: { v4: lookup } }) } as const;
      const wanted = backend.routeByNewPath(lease, path);
      const found = await kernel.routeTo(inside);
      const why =
        wanted === undefined
          ? (backend.whyNotByNewPath(lease, path) ?? 'this host has no route to it by the new path')
          : found?.device === wanted.device && found?.via === wanted.via
            ? undefined
            : `packets to ${formatIp(inside)} take another way (${found?.device ?? 'none'})`;
      if (why !== undefined) led.set(lease.name, why);
    }
    return led;
  }
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
