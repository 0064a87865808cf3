import type { KnownNetwork } from '#src/diagnose/known-network.ts';
import type { Eye } from '#src/diagnose/trace/eye.ts';
import type { ListNamespaces } from '#src/diagnose/trace/find-inside.ts';
import type { Finding } from '#src/diagnose/trace/hop.ts';
import type { Carriage } from '#src/diagnose/trace/part.ts';

/** One host that can be looked at from here: this one, or a host of a lab. */
export interface LocalHost {
  /** Its name. */
  readonly name: string;
  readonly eye: Eye;
  /** Flannel's network; `undefined` on a host that has only Docker networks of weft. */
  readonly known: KnownNetwork | undefined;
  /** The namespace of Docker's networks of weft; absent where there is none. */
  readonly tenants?: Eye | undefined;
  readonly namespaces: ListNamespaces;
}

/** A step that is not ok ends the walk, unless all are wanted. */
export type Steps = AsyncGenerator<Finding, Carriage | undefined, void>;

/** A host that has a part in flannel's network. */
export type OverlayHost = LocalHost & { readonly known: KnownNetwork };
