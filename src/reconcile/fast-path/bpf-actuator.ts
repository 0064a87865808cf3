import type { FastCounts } from '#src/fast-path/map-layouts.ts';
import type { BpfObject } from '#src/kernel/bpf/bpf-object.ts';
import * as k from '#src/kernel/constants.ts';
import { DeviceLookup } from '#src/kernel/device-names.ts';
import { findBy } from '#src/kernel/find-device.ts';
import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import { subscribe } from '#src/kernel/netlink-subscription.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import { adoptMaps, createMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import { FastSet } from '#src/reconcile/fast-path/fast-set.ts';
import { type FormedHook, type FormName, Hooks } from '#src/reconcile/fast-path/hooks.ts';
import { readPrograms } from '#src/reconcile/fast-path/load-programs.ts';
import { selfTest } from '#src/reconcile/fast-path/self-test.ts';
import { FAST_HOOK } from '#src/state/kinds/fast-hook.ts';
import { FAST_LOCAL } from '#src/state/kinds/fast-local.ts';
import { FAST_PATH } from '#src/state/kinds/fast-path.ts';
import { FAST_PEER } from '#src/state/kinds/fast-peer.ts';
import type { FastHook, FastPeer, KernelObject } from '#src/state/object.ts';
import type { KernelError, Operation, OperationResult } from '#src/state/operation.ts';
import { Bpf } from '#src/sys/bpf.ts';
import type { BpfPins } from '#src/sys/bpf-pins.ts';
import type { Clock } from '#src/sys/clock.ts';
import { NETLINK_ROUTE, type Netlink } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface BpfActuatorComponents {
  readonly netlink: Netlink;
  readonly pins: BpfPins;
  readonly clock: Clock;
}

export interface BpfActuatorOptions {
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
  /** Where a bpffs is mounted. Default: /sys/fs/bpf. */
  readonly bpffs?: string;
  /** In place of the choice by what the host has: see {@link Hooks}. */
  readonly form?: FormName;
}

/** What is open from the first use on. */
interface Opened {
  readonly bpf: Bpf;
  readonly object: BpfObject;
  readonly client: RtnetlinkClient;
  readonly hooks: Hooks;
}

type FastObject = Extract<KernelObject, { kind: 'fast-path' | 'fast-peer' | 'fast-local' | 'fast-hook' }>;

/** Milliseconds between two looks at maps and hooks, and the share of the time that looks may take. */
const LOOK_MS = 1_000;
const LOOK_SHARE = 0.01;
const LONGEST_PAUSE_MS = 5_000;
/** What a look costs is the least that one of the last few took: on a busy machine the others waited for a processor. */
const REMEMBERED_LOOKS = 8;

/**
 * The fast paths of one network namespace: BPF maps, and programs on devices. Nothing is opened before the first look or change.
 * What is attached stays when this ends, works on, and is taken over by the next. The kernel reports no changes of maps and links:
 * they are looked at once a second, as soon as there are any.
 */
export class BpfActuator implements Actuator {
  readonly kinds = [FAST_PATH, FAST_PEER, FAST_LOCAL, FAST_HOOK];
  readonly #components: BpfActuatorComponents;
  readonly #options: BpfActuatorOptions;
  /** Looks and changes take turns. */
  readonly #order = new InOrder();
  readonly #sets = new Map<string, FastSet>();
  /** Hooks by key, as they were last seen or made. */
  readonly #hooks = new Map<string, FastHook>();
  #opened: Opened | undefined;
  #isTested = false;
  #closed = false;
  #wake: (() => void) | undefined;
  /** Whether changes of filters are heard. */
  #isFollowing = false;

  constructor(components: BpfActuatorComponents, options: BpfActuatorOptions = {}) {
    this.#components = components;
    this.#options = options;
  }

  /**
   * Loads the programs and runs them on made-up packets, and attaches nothing. How they would be attached. Throws a WeftError
   * `fast-path` with the reason why there can be no fast path here.
   */
  check(): Promise<FormName> {
    return this.#order.run(async () => {
      const { hooks } = await this.#openTested();
      return hooks.form;
    });
  }

  /** How hooks are attached; `undefined` while nothing is open. */
  get form(): FormName | undefined {
    return this.#opened?.hooks.form;
  }

  /** What the programs of a set have counted since its maps were made; `undefined` when there is no such set. */
  counts(set: string): FastCounts | undefined {
    return this.#sets.get(set)?.counts();
  }

  /** Makes a device ready for hooks that will be wanted, as long as others are there. A failure is reported when they are attached. */
  prepare(ifindex: number): void {
    this.#order.run(async () => this.#opened?.hooks.prepare(ifindex)).catch(() => {});
  }

  scan({ kinds, device }: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (!this.kinds.some(({ name }) => kinds.includes(name))) return Promise.resolve();
    return this.#order.run(async () => {
      const opened = await this.#open();
      const names = new DeviceLookup(findBy(opened.client));
      const visitOn = (object: KernelObject) => {
        if (device === undefined || kindOf(object)?.deviceOf(object as never) === device) visit(object);
      };
      opened.hooks.forgetFilters();
      const found = await this.#listHooks(opened, names);
      this.#hooks.clear();
      for (const hook of found) {
        this.#hooks.set(FAST_HOOK.key(hook), hook);
        if (kinds.includes('fast-hook')) visitOn(hook);
      }
      const budget = new TurnBudget(this.#components.clock);
      for (const set of this.#sets.values()) await set.list(kinds, names, budget, visitOn);
      this.#wake?.();
    });
  }

  /** The hooks that there are. Sets that were left by another weft are taken over. */
  async #listHooks(opened: Opened, names: DeviceLookup): Promise<FastHook[]> {
    const found = await opened.hooks.list(names);
    for (const { set } of found) if (!this.#sets.has(set)) this.#adopt(opened, set, found);
    // A hook of both forms is one that has to be made again.
    const byKey = new Map<string, FastHook>();
    for (const hook of found) {
      const { set, device, program } = hook;
      const isCurrent = hook.isFormed && this.#sets.get(set)?.isCurrent(hook) === true;
      const object: FastHook = { kind: 'fast-hook', set, device, program, isCurrent };
      const key = FAST_HOOK.key(object);
      if (byKey.get(key)?.isCurrent !== false) byKey.set(key, object);
    }
    return [...byKey.values()];
  }

  /**
   * The maps that a set's programs have. With another layout they are another weft's, and are made again, as are those that this
   * process may not look at.
   */
  #adopt({ bpf, object }: Opened, set: string, found: readonly FormedHook[]): void {
    const own = found.filter((hook) => hook.set === set);
    // The other programs do not work on all maps.
    const first = own.find(({ program }) => program === 'from-wire' || program === 'from-container');
    const program = first && bpf.programById(first.programId);
    if (program === undefined) return;
    try {
      const maps = adoptMaps(bpf, bpf.programInfo(program).mapIds);
      if (maps !== undefined) this.#sets.set(set, new FastSet(bpf, object, set, maps));
    } finally {
      bpf.close(program);
    }
  }

  apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    return this.#order.run(async () => {
      const results: OperationResult[] = [];
      const budget = new TurnBudget(this.#components.clock);
      for (let start = 0; start < operations.length; ) {
        const end = endOfRun(operations, start);
        const run = operations.slice(start, end);
        const error = await this.#applyRun(run).catch(errorOf);
        for (const operation of run)
          results.push(error === undefined ? { operation, done: true } : { operation, done: false, error });
        start = end;
        await budget.turn();
      }
      this.#wake?.();
      return results;
    });
  }

  /** One operation, or a row of peers. */
  async #applyRun(run: readonly Operation[]): Promise<void> {
    const [{ verb, object } = {}] = run;
    if (verb === undefined || !isFast(object))
      throw new TypeError(`this is no part of a fast path: ${object?.kind}`);
    // What an earlier run made goes also where this one may load nothing.
    const opened = await (verb === 'remove' ? this.#open() : this.#openTested());
    const names = new DeviceLookup(findBy(opened.client));
    if (verb === 'remove') return this.#remove(opened, names, object);
    const set = await this.#setOf(opened, names, object.set);
    switch (object.kind) {
      case 'fast-path':
        return set.setPath(object, {
          underlay: indexOf(names, object.underlay),
          tunnel: indexOf(names, object.set),
        });
      case 'fast-peer':
        return set.setPeers(run.map((operation) => operation.object as FastPeer));
      case 'fast-local':
        return set.setLocal(object, indexOf(names, object.device));
      case 'fast-hook': {
        const place = { ...object, ifindex: indexOf(names, object.device) };
        await opened.hooks.attach(place, set.programFd(object.program));
        this.#hooks.set(FAST_HOOK.key(object), { ...object, isCurrent: true });
      }
    }
  }

  async #remove({ hooks }: Opened, names: DeviceLookup, object: FastObject): Promise<void> {
    const set = this.#sets.get(object.set);
    switch (object.kind) {
      case 'fast-path':
        set?.switchOff();
        set?.close();
        this.#sets.delete(object.set);
        return;
      case 'fast-peer':
        return set?.removePeer(object);
      case 'fast-local':
        return set?.removeLocal(object);
      case 'fast-hook': {
        this.#hooks.delete(FAST_HOOK.key(object));
        const ifindex = names.indexOf(object.device);
        // With the device the hook has gone.
        if (ifindex !== undefined) await hooks.detach({ ...object, ifindex });
      }
    }
  }

  /** The set, taken over or made. */
  async #setOf(opened: Opened, names: DeviceLookup, name: string): Promise<FastSet> {
    if (!this.#sets.has(name)) await this.#listHooks(opened, names);
    let set = this.#sets.get(name);
    if (set === undefined) {
      set = new FastSet(opened.bpf, opened.object, name, createMaps(opened.bpf));
      this.#sets.set(name, set);
    }
    return set;
  }

  /** Calls back for what others have changed, until the signal aborts. */
  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    this.#lookOn(listener, signal).catch(() => {});
  }

  async #lookOn(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const costs: number[] = [];
    while (!signal.aborted && !this.#closed) {
      if (this.#sets.size === 0 && this.#hooks.size === 0) await this.#untilWoken(signal);
      await this.#follow(signal).catch(() => {});
      const began = clock.monotonic();
      await this.#order.run(() => this.#look(listener)).catch(() => {});
      costs.push(clock.monotonic() - began);
      if (costs.length > REMEMBERED_LOOKS) costs.shift();
      const pause = Math.min(LONGEST_PAUSE_MS, Math.max(LOOK_MS, Math.min(...costs) / LOOK_SHARE));
      await clock.sleep(pause, signal);
    }
  }

  /** Filters are many, and the kernel reports their changes: they are listed again only then. */
  async #follow(signal: AbortSignal): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined || this.#isFollowing) return;
    const { netlink, clock } = this.#components;
    const { hooks, client } = opened;
    const forget = () => hooks.forgetFilters();
    await subscribe(
      { netlink, clock },
      {
        protocol: NETLINK_ROUTE,
        groups: [k.RTNLGRP_TC],
        namespace: this.#options.namespace,
        mute: { port: client.port, types: [k.RTM_NEWQDISC, k.RTM_NEWTFILTER, k.RTM_DELTFILTER] },
      },
      { message: forget, overrun: forget },
      signal,
    );
    this.#isFollowing = true;
    forget();
  }

  async #look(listener: (event: KernelEvent) => void): Promise<void> {
    const opened = this.#opened;
    if (opened === undefined) return;
    const names = new DeviceLookup(findBy(opened.client));
    const missing = new Map(this.#hooks);
    for (const hook of await this.#listHooks(opened, names)) {
      const key = FAST_HOOK.key(hook);
      missing.delete(key);
      if (this.#hooks.get(key)?.isCurrent === hook.isCurrent) continue;
      this.#hooks.set(key, hook);
      listener({ type: 'changed', object: hook });
    }
    for (const [key, object] of missing) {
      this.#hooks.delete(key);
      listener({ type: 'removed', object });
    }
    const budget = new TurnBudget(this.#components.clock);
    for (const set of this.#sets.values()) await set.lookForChanges(names, budget, listener);
  }

  async #untilWoken(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const end = () => reject(signal.reason);
    this.#wake = resolve;
    signal.addEventListener('abort', end, { once: true });
    await promise.finally(() => signal.removeEventListener('abort', end));
    this.#wake = undefined;
  }

  async #openTested(): Promise<Opened> {
    const opened = await this.#open();
    if (!this.#isTested) selfTest(opened.bpf, opened.object);
    this.#isTested = true;
    return opened;
  }

  async #open(): Promise<Opened> {
    if (this.#opened !== undefined) return this.#opened;
    const { netlink, pins, clock } = this.#components;
    const { namespace, bpffs = '/sys/fs/bpf', form } = this.#options;
    const [bpf, object, socket] = await Promise.all([
      Bpf.open(namespace),
      readPrograms(),
      netlink.open({ protocol: NETLINK_ROUTE, namespace }),
    ]);
    const client = new RtnetlinkClient(socket);
    try {
      const hooks = new Hooks({ bpf, pins, client, clock }, { bpffs, form });
      this.#opened = { bpf, object, client, hooks };
      return this.#opened;
    } catch (error) {
      client.close();
      throw error;
    }
  }

  /** What is attached stays. */
  close(): void {
    this.#closed = true;
    for (const set of this.#sets.values()) set.close();
    this.#sets.clear();
    this.#opened?.client.close();
    this.#opened = undefined;
  }
}

const FAST_KINDS: readonly string[] = ['fast-path', 'fast-peer', 'fast-local', 'fast-hook'];
const isFast = (object: KernelObject | undefined): object is FastObject =>
  object !== undefined && FAST_KINDS.includes(object.kind);

const kindOf = (object: KernelObject) =>
  [FAST_PATH, FAST_PEER, FAST_LOCAL, FAST_HOOK].find(({ name }) => name === object.kind);

/** Peers of one set that are written in a row go to the kernel in one call. */
function endOfRun(operations: readonly Operation[], start: number): number {
  const first = operations[start];
  let end = start + 1;
  if (first?.object.kind !== 'fast-peer' || first.verb === 'remove') return end;
  for (; end < operations.length && end - start < MOST_IN_A_ROW; end++) {
    const { verb, object } = operations[end] ?? first;
    if (object.kind !== 'fast-peer' || verb === 'remove' || object.set !== first.object.set) break;
  }
  return end;
}

const MOST_IN_A_ROW = 1024;

function indexOf(names: DeviceLookup, device: string): number {
  const index = names.indexOf(device);
  if (index === undefined) throw Object.assign(new Error(`there is no device ${device}`), { code: 'ENODEV' });
  return index;
}

function errorOf(error: unknown): KernelError {
  // What the programs' trial says has the kernel's error as its cause.
  const { code } = (error instanceof WeftError ? error.cause : error) as NodeJS.ErrnoException;
  return {
    errno: typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : 'EOPNOTSUPP',
    message: messageOf(error),
  };
}
