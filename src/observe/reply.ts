/** What a handler of the local API answers. */
export type Reply = ValueReply | ListReply | StreamReply;

/** A value, small enough to be written in one piece. */
export interface ValueReply {
  readonly kind: 'value';
  /** Default 200. */
  readonly status?: number;
  readonly value: unknown;
}

/** An object with one long list, which is written in pieces: `{"peers":[…]}`. */
export interface ListReply {
  readonly kind: 'list';
  readonly name: string;
  /** Made one after the other while they are written, over many turns of the event loop. */
  readonly items: Iterable<unknown>;
  /** The other fields; asked for after the last item. */
  readonly rest?: () => object;
}

/** Events as they come, after the one with this id. */
export interface StreamReply {
  readonly kind: 'stream';
  readonly after: number;
}

export const valueReply = (value: unknown): ValueReply => ({ kind: 'value', value });

/** A refusal: what could not be done, to what, why, and what to do. */
export const refusal = (status: number, error: string): ValueReply => ({
  kind: 'value',
  status,
  value: { error },
});
