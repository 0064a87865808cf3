import type { Hop } from '#src/diagnose/trace/hop.ts';

/** How a packet crosses from host to host. Addresses are dotted. */
export type Carriage =
  /** In a packet of the hosts: a tunnel. `mac`: whom the inner frame is for. */
  | {
      readonly kind: 'tunnel';
      readonly from?: string;
      readonly to: string;
      readonly mac: string;
      readonly vni: number;
      readonly port: number;
    }
  /** As it is, by the other host's own address. */
  | { readonly kind: 'direct'; readonly to: string }
  /** Not at all: both containers are on one host. */
  | { readonly kind: 'bridge' };

/** The part of a packet's way on one host. JSON: the body of `POST /v1/trace`. */
export interface PartRequest {
  /** `leave`: from a container onto the wire. `enter`: from the wire into a container. */
  readonly part: 'leave' | 'enter';
  readonly way: Hop['way'];
  /** The containers' addresses, dotted. */
  readonly from: string;
  readonly to: string;
  /** With `enter`: how it comes. */
  readonly carriage?: Carriage;
  /** The number of a Docker network of weft; absent for flannel's network. */
  readonly tenant?: number;
  /** Go on behind a hop that is not ok. */
  readonly all?: boolean;
}

/** What a host found of its part. JSON: the answer to `POST /v1/trace`. */
export interface PartAnswer {
  /** The host's name. */
  readonly host: string;
  readonly hops: readonly Hop[];
  /** With `leave`, when the packet leaves. */
  readonly carriage?: Carriage;
}
