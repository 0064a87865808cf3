import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { Kind, StateObject } from '#src/state/kind.ts';
import type { KernelError, Operation } from '#src/state/operation.ts';

/** Names of the devices in messages. */
export type Names = Pick<DeviceNames, 'nameOf' | 'hostId'>;

/** One dump among those that list a kind, and how to read its messages. */
export interface DumpRequest<T, R = Read<T>> {
  readonly request: Request;
  read(message: Message, names: Names): R;
}

/** What a message has of one kind: nothing, one object, or several. */
export type Read<T> = T | readonly T[] | undefined;

export const isList = <T>(read: T | readonly T[]): read is readonly T[] => Array.isArray(read);

/** Which objects of a kind are listed. The kernel filters (NETLINK_GET_STRICT_CHK, Linux 4.20), but an older one may not. */
export interface DumpFilter {
  /** ifindex */
  readonly index?: number | undefined;
  /** RTPROT_* */
  readonly protocol?: number | undefined;
}

/** How rtnetlink carries one kind of kernel state. Tables of messages, groups and dumps are built from these. */
export interface KindCodec<T extends StateObject, R extends Read<T> = Read<T>> {
  readonly kind: Kind<T>;
  /** RTNLGRP_* in which its events come. */
  readonly groups: readonly number[];
  /** RTM_NEW… and RTM_DEL…. Two kinds may share them: the one that can read a message has it. */
  readonly changed: number;
  readonly removed: number;
  /** Whether an event of our own change has more in it than the change: the kernel adds fields to links and addresses. */
  readonly isEchoHeard: boolean;
  /** Whether later operations of a batch must see what this one did: a device's index is known only once it is made. */
  readonly endsBatch: boolean;

  /** The dumps that list the kind. A kernel without IPv6 answers an IPv6 dump with all families. */
  dumps(filter: DumpFilter): readonly DumpRequest<T, R>[];
  /** An event's object, or objects; `undefined` for a message that is nothing to this kind. */
  read(message: Message, names: Names): R;
  /** Whether the object of a `changed` event is as good as gone. */
  isGone?(object: T): boolean;
  /** The operation as a message; `unsupported`; why it can't be one; or `undefined` when {@link missingDevice} is not there. */
  encode(operation: Operation<T>, names: DeviceNames): Request | KernelError | 'unsupported' | undefined;
  /** The device that {@link encode} has to find. */
  missingDevice(object: T): string | undefined;
  /** Why the kernel would do something else than the operation means, asked of the kernel; `undefined` when it would not. */
  refuse?(operation: Operation<T>, questions: RtnetlinkClient): KernelError | undefined;
}
