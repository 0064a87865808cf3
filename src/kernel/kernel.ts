import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import type { Ip } from '#src/lib/ip.ts';
import type { Kind } from '#src/state/kind.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';
import type { RouteLookup } from '#src/state/route-lookup.ts';

/** One network namespace's rtnetlink, as the reconciler sees it. `RtnetlinkKernel` is the real one. */
export interface Kernel {
  /** What it can list, change and watch. */
  readonly kinds: readonly Kind<KernelObject>[];

  /** All devices. Equals `ip -d link show`. */
  links(): Promise<readonly Link[]>;

  /**
   * What is there of the kinds asked for; with `device`, only what belongs to it. Routes are those of the main
   * table, neighbours exclude the kernel's NOARP entries, FDB entries are those with a destination, those of bridges are in
   * no VLAN. A dump that
   * the kernel marks as interrupted (NLM_F_DUMP_INTR) is taken again.
   */
  dump(query: DumpQuery): Promise<KernelObject[]>;

  /**
   * The same, one by one as they are read: 50,000 peers have 150,000 objects. Objects of a dump that is then taken again
   * may be gone, and events report that.
   */
  scan(query: DumpQuery, visit: (object: KernelObject) => void): Promise<void>;

  /**
   * Applies the operations in order, many to one send; one result each, in the same order. A refused operation
   * does not stop the others. The event loop is given a turn between batches.
   */
  apply(operations: readonly Operation[]): Promise<OperationResult[]>;

  /**
   * Calls `listener` for every change of its kinds until the signal aborts.
   * An echo of what `apply` itself did to routes, neighbours and FDB entries may be left out.
   * Resolves when the subscription is in force: what changes after that is reported.
   */
  monitor(listener: (event: KernelEvent) => void, signal: AbortSignal): Promise<void>;

  /**
   * Monitors report no neighbours and FDB entries of these devices until the returned function is called; the caller
   * then has to look again. For thousands of changes of our own: the kernel reports each FDB entry without naming who
   * changed it, and reading all these reports takes longer than one scan. A device that is not there is not muffled.
   */
  muffle(devices: readonly string[]): Promise<() => void>;

  /** The route the kernel would take. Equals `ip route get IP`. `undefined` when there is none. */
  routeTo(ip: Ip): Promise<RouteLookup | undefined>;

  /** What the kernel would do with a packet, of this host or forwarded. Equals `ip route get TO from FROM iif BY`. */
  decide(question: RouteQuestion): Promise<RouteDecision>;

  close(): void;
}

export interface DumpQuery {
  readonly kinds: readonly KernelObject['kind'][];
  readonly device?: string;
  /** Only routes of this RTPROT_*. */
  readonly protocol?: number;
}

export type KernelEvent =
  | { readonly type: 'changed'; readonly object: KernelObject }
  | { readonly type: 'removed'; readonly object: KernelObject }
  /** A netconf value changed (RTNLGRP_IPV4_NETCONF, RTNLGRP_IPV6_NETCONF): forwarding, rp_filter, of one device or of `all`. */
  | { readonly type: 'netconf'; readonly family: 4 | 6; readonly device: string }
  /** A rule of policy routing changed (RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE), or a route of a table that only rules lead to. */
  | { readonly type: 'policy' }
  /** What packets queue in on some device changed (RTNLGRP_TC). */
  | { readonly type: 'qdisc' }
  /** A program that holds some was started again, or ended. Only a full dump shows what is there. */
  | { readonly type: 'flushed' }
  /** ENOBUFS: events were lost. Only a full dump shows what is there. */
  | { readonly type: 'overrun' };
