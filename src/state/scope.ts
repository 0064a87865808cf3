import { deviceOf, type KernelObject } from '#src/state/object.ts';

/**
 * A part of the kernel's state that one owner looks after: which objects are compared, and which of
 * them the owner may remove when no owner wants them. An owner's territory is a list of scopes.
 */
export interface Scope {
  readonly kinds: readonly KernelObject['kind'][];
  /** Only objects on this device (a link itself counts), or only routes with this RTPROT_*. Without it: all of the kinds. */
  readonly filter?: ScopeFilter;
  /** Whether the owner, or a flannel before it, made the object. Judged by its shape alone; asked only inside the scope. */
  owns(object: KernelObject): boolean;
}

export type ScopeFilter = { readonly device: string } | { readonly protocol: number };

/** Whether the object lies in the scope. */
export function covers({ kinds, filter }: Scope, object: KernelObject): boolean {
  if (!kinds.includes(object.kind)) return false;
  if (filter === undefined) return true;
  if ('protocol' in filter) return object.kind === 'route' && object.protocol === filter.protocol;
  return deviceOf(object) === filter.device;
}

/** Whether the object lies in one of the scopes and is its owner's to remove. */
export const isOwned = (scopes: readonly Scope[], object: KernelObject): boolean =>
  scopes.some((scope) => covers(scope, object) && scope.owns(object));
