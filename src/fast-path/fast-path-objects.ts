import type { FastLocal, FastPath, FastPeer, FastProgram, KernelObject } from '#src/state/object.ts';
import type { Scope } from '#src/state/scope.ts';

/** What one network's fast path is made from. Objects lack what is the same in all: kind and set. */
export interface FastPathWish extends Omit<FastPath, 'kind'> {
  /** Peers that may go fast: vxlan with this VNI over IPv4, by the tunnel and not by a direct route. */
  readonly peers: readonly Omit<FastPeer, 'kind' | 'set'>[];
  /** Containers of this host, by address. One device may have several addresses. */
  readonly locals: readonly Omit<FastLocal, 'kind' | 'set'>[];
}

/** Conntrack sees samples of a fast TCP flow only, and must not call the others INVALID. Found 0 on a usual host. */
export const TCP_BE_LIBERAL: KernelObject = {
  kind: 'sysctl',
  path: 'net/netfilter/nf_conntrack_tcp_be_liberal',
  value: '1',
};

/**
 * **The interface of the fast path.** An owner of the reconciler wants these objects, and the BPF actuator
 * (`reconcile/bpf-actuator.ts`, one for each network namespace) makes them so:
 *
 * - `fast-path`: settings. Switching off for a while is `freshMs: 0`; rules that changed are another `generation`;
 *   a sysctl that can't be written is `tcp: false`.
 * - `fast-peer`, `fast-local`: entries of two maps. Wanting one fewer makes its packets go slow.
 * - `fast-hook`: programs on devices. A device that goes takes its hooks along; they come back with it.
 * - {@link TCP_BE_LIBERAL}, where `tcp` is set. Only its owner knows which value to put back.
 *
 * The owner's scopes hold {@link fastPathScope}. Nothing is loaded before the first of these objects is wanted. What can't be loaded
 * is the failure of the `fast-path` object, in the kernel's own words. Wanting none of them, with removal allowed, takes everything away;
 * a released owner leaves it running, and the next weft takes it over.
 *
 * Changes of peers and containers may be set one at a time with {@link peerObjects} and {@link localObjects}: a hook that two
 * subjects want is one hook.
 */
export function fastPathObjects(wish: FastPathWish): readonly KernelObject[] {
  const { peers, locals, ...settings } = wish;
  const { set, underlay, tcp } = wish;
  return [
    ...(tcp ? [TCP_BE_LIBERAL] : []),
    { kind: 'fast-path', ...settings },
    hook(set, 'from-wire', underlay),
    hook(set, 'note-out', set),
    ...peers.flatMap((peer) => peerObjects(set, peer)),
    ...uniqueHooks(locals.flatMap((local) => localObjects(set, local))),
  ];
}

export const peerObjects = (set: string, peer: Omit<FastPeer, 'kind' | 'set'>): readonly KernelObject[] => [
  { kind: 'fast-peer', set, ...peer },
];

export const localObjects = (
  set: string,
  local: Omit<FastLocal, 'kind' | 'set'>,
): readonly KernelObject[] => [
  { kind: 'fast-local', set, ...local },
  hook(set, 'from-container', local.device),
  hook(set, 'note-in', local.device),
];

/** Everything of a set is its owner's: nobody else has one of that name. */
export const fastPathScope = (set: string): Scope => ({
  kinds: ['fast-path', 'fast-peer', 'fast-local', 'fast-hook'],
  owns: (object) => 'set' in object && object.set === set,
});

const hook = (set: string, program: FastProgram, device: string): KernelObject => ({
  kind: 'fast-hook',
  set,
  device,
  program,
  isCurrent: true,
});

function uniqueHooks(objects: readonly KernelObject[]): KernelObject[] {
  const seen = new Set<string>();
  return objects.filter((object) => {
    if (object.kind !== 'fast-hook') return true;
    const key = `${object.program} ${object.device}`;
    if (seen.has(key)) return false;
    seen.add(key);
    return true;
  });
}
