import { ChangeSender } from '#src/kernel/change-sender.ts';
import { Codecs } from '#src/kernel/codecs.ts';
import * as k from '#src/kernel/constants.ts';
import type { DumpQuery, KernelEvent } from '#src/kernel/kernel.ts';
import type { KindCodec, Names } from '#src/kernel/kind-codec.ts';
import { XFRM_POLICY_CODEC } from '#src/kernel/kinds/xfrm-policy.ts';
import type { Message } from '#src/kernel/message.ts';
import { subscribe } from '#src/kernel/netlink-subscription.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { messageOf } from '#src/lib/errors.ts';
import { XFRM_POLICY, type XfrmPolicy } from '#src/state/kinds/xfrm-policy.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { NETLINK_XFRM, type Netlink } from '#src/sys/netlink-socket.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface XfrmKernelComponents {
  readonly netlink: Netlink;
  readonly clock?: Clock;
}

export interface XfrmKernelOptions {
  /** The network namespace, as a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
}

const CODECS = new Codecs([XFRM_POLICY_CODEC as KindCodec<KernelObject>]);
/** No policy names a device. */
const NO_NAMES: Names = { nameOf: () => undefined };

/** What listens until when. */
interface Watch {
  readonly listener: (event: KernelEvent) => void;
  readonly signal: AbortSignal;
  isInForce: boolean;
}

/**
 * IPsec policies of one network namespace (NETLINK_XFRM). Nothing is opened before somebody looks after policies: the first
 * socket makes the kernel load a module that most hosts have no use for.
 */
export class XfrmKernel {
  readonly kinds = CODECS.kinds.all;
  readonly #netlink: Netlink;
  readonly #clock: Clock;
  readonly #namespace: string | undefined;
  readonly #watches = new Set<Watch>();
  /** Dumps and changes take turns on it. */
  #client: Promise<RtnetlinkClient> | undefined;
  #sender: ChangeSender | undefined;
  #last: Promise<unknown> = Promise.resolve();
  /** What there is, by key: a flush names none of what it removes, and to list all of the kernel would take longer. */
  readonly #known = new Map<string, XfrmPolicy>();

  constructor({ netlink, clock = systemClock }: XfrmKernelComponents, { namespace }: XfrmKernelOptions = {}) {
    this.#netlink = netlink;
    this.#clock = clock;
    this.#namespace = namespace;
  }

  /** Equals `ip xfrm policy`. A kernel without IPsec has none. */
  scan({ kinds }: DumpQuery, visit: (object: KernelObject) => void): Promise<void> {
    if (!kinds.includes('xfrm-policy')) return Promise.resolve();
    return this.#inTurn(async () => {
      const client = await this.#open().catch(() => undefined);
      if (client === undefined) return;
      // Followed first: no change is missed between the two.
      await this.#follow(client);
      const budget = new TurnBudget(this.#clock);
      for (const { request, read } of XFRM_POLICY_CODEC.dumps({}))
        await client.dump(
          request,
          budget,
          () => this.#known.clear(),
          (message) => {
            const object = read(message, NO_NAMES);
            if (object === undefined) return;
            this.#note('changed', object);
            visit(object);
          },
        );
    });
  }

  apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    return this.#inTurn(async () => {
      try {
        const client = await this.#open();
        this.#sender ??= new ChangeSender({
          changes: client,
          questions: client,
          clock: this.#clock,
          codecs: CODECS,
        });
        const results = await this.#sender.apply(operations);
        // Their events are left out.
        for (const { operation, done } of results)
          if (done && operation.object.kind === 'xfrm-policy')
            this.#note(operation.verb === 'remove' ? 'removed' : 'changed', operation.object);
        return results;
      } catch (error) {
        const reason = {
          errno: 'EPROTONOSUPPORT',
          message: `${messageOf(error)}; IPsec needs the kernel's CONFIG_XFRM_USER`,
        };
        return operations.map((operation) => ({ operation, done: false, error: reason }));
      }
    });
  }

  /** Calls back for changes from the first {@link scan} on, until the signal aborts. Equals `ip xfrm monitor policy`. */
  async monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void> {
    const watch: Watch = { listener, signal, isInForce: false };
    this.#watches.add(watch);
    signal.addEventListener('abort', () => this.#watches.delete(watch), { once: true });
  }

  close(): void {
    this.#client?.then((client) => client.close()).catch(() => {});
  }

  #note(type: 'changed' | 'removed', policy: XfrmPolicy): void {
    const key = XFRM_POLICY.key(policy);
    if (type === 'changed') this.#known.set(key, policy);
    else this.#known.delete(key);
  }

  #eventsIn(message: Message): KernelEvent[] {
    if (message.type === k.XFRM_MSG_FLUSHPOLICY) {
      const gone = [...this.#known.values()];
      return gone.map((object) => ({ type: 'removed', object }));
    }
    const event = readEvent(message);
    if (event === undefined) return [];
    this.#note(event.type, event.object);
    return [event];
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work);
    this.#last = result.catch(() => {});
    return result;
  }

  #open(): Promise<RtnetlinkClient> {
    this.#client ??= this.#netlink
      .open({ protocol: NETLINK_XFRM, namespace: this.#namespace })
      .then((socket) => new RtnetlinkClient(socket))
      .catch((error) => {
        this.#client = undefined;
        throw error;
      });
    return this.#client;
  }

  async #follow({ port }: RtnetlinkClient): Promise<void> {
    for (const watch of this.#watches) {
      if (watch.isInForce || watch.signal.aborted) continue;
      watch.isInForce = true;
      const { listener, signal } = watch;
      await subscribe(
        { netlink: this.#netlink, clock: this.#clock },
        {
          protocol: NETLINK_XFRM,
          groups: CODECS.groups,
          namespace: this.#namespace,
          mute: { port, types: CHANGES },
        },
        {
          message: (message) => {
            for (const event of this.#eventsIn(message)) listener(event);
          },
          overrun: () => listener({ type: 'overrun' }),
        },
        signal,
      );
    }
  }
}

const CHANGES = [k.XFRM_MSG_NEWPOLICY, k.XFRM_MSG_UPDPOLICY, k.XFRM_MSG_DELPOLICY];

/** What a message of XFRMNLGRP_POLICY reports of one policy. */
export function readEvent(
  message: Message,
): { readonly type: 'changed' | 'removed'; readonly object: XfrmPolicy } | undefined {
  if (!CHANGES.includes(message.type)) return undefined;
  const object = XFRM_POLICY_CODEC.read(message, NO_NAMES);
  return object && { type: message.type === k.XFRM_MSG_DELPOLICY ? 'removed' : 'changed', object };
}
