import type { StateObject } from '#src/state/kind.ts';
import { type KernelObject, KINDS } from '#src/state/object.ts';

/**
 * `add` fails when the slot is taken, `replace` takes it, `set` changes an existing link in place (MTU, MAC, up), `remove`
 * fails when there is nothing.
 */
export type Verb = 'add' | 'replace' | 'set' | 'remove';

/** One change to the kernel. */
export interface Operation<T extends StateObject = KernelObject> {
  readonly verb: Verb;
  readonly object: T;
}

/** Done, or refused by the kernel. The others of the same batch are done anyway. */
export type OperationResult =
  | { readonly operation: Operation; readonly done: true }
  | { readonly operation: Operation; readonly done: false; readonly error: KernelError };

export interface KernelError {
  /** `EEXIST`, `ENOENT`, … of errno.h. */
  readonly errno: string;
  /** The kernel's own words (NETLINK_EXT_ACK), or the errno's usual text. */
  readonly message: string;
}

/** The `ip` or `bridge` command the operation equals, fit to be pasted into a shell. */
export const commandOf = ({ verb, object }: Operation): string => KINDS.of(object).command(verb, object);
