import { formatObject, type KernelObject } from '#src/state/object.ts';

/**
 * One change to the kernel. `add` fails when the slot is taken, `replace` takes it, `set` changes an existing
 * link in place (MTU, MAC, up), `remove` fails when there is nothing.
 */
export interface Operation {
  readonly verb: 'add' | 'replace' | 'set' | 'remove';
  readonly object: KernelObject;
}

/** Done, or refused by the kernel. The others of the same batch are done all the same. */
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
export function commandOf({ verb, object }: Operation): string {
  switch (object.kind) {
    case 'link': {
      if (verb === 'remove') return `ip link del ${object.name}`;
      if (verb !== 'set') return `ip link add ${formatObject(object)}`;
      const words = [`ip link set ${object.name}`];
      if (object.mac !== undefined) words.push(`address ${object.mac}`);
      if (object.mtu !== undefined) words.push(`mtu ${object.mtu}`);
      if (object.up !== undefined) words.push(object.up ? 'up' : 'down');
      return words.join(' ');
    }
    case 'address':
      return `ip address ${verb === 'remove' ? 'del' : verb} ${formatObject(object)}`;
    case 'route':
      return `ip route ${verb === 'remove' ? 'del' : verb} ${formatObject(object)}`;
    case 'neighbour':
      return verb === 'remove'
        ? `ip neigh del ${formatObject({ ...object, permanent: false })}`
        : `ip neigh ${verb} ${formatObject(object)}`;
    case 'fdb':
      return verb === 'remove'
        ? `bridge fdb del ${formatObject({ ...object, permanent: false })}`
        : `bridge fdb ${verb} ${formatObject(object)}`;
  }
}
