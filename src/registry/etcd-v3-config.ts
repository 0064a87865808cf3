import { CompareResult, CompareTarget, EventType } from '#src/etcd/names.ts';
import { KVService, RangeRequest, type RangeResponse, RequestOp } from '#src/etcd/rpc.ts';
import { CompactedError } from '#src/registry/errors.ts';
import type { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { type WatchPatience, watchRanges } from '#src/registry/etcd-v3-watch.ts';

export interface EtcdV3ConfigOptions {
  readonly key: Buffer;
  readonly patience: WatchPatience;
}

/** The key with a network's config. */
export class EtcdV3Config {
  readonly #connection: EtcdConnection;
  readonly #options: EtcdV3ConfigOptions;

  constructor(components: { readonly connection: EtcdConnection }, options: EtcdV3ConfigOptions) {
    this.#connection = components.connection;
    this.#options = options;
  }

  async read(signal: AbortSignal): Promise<string | undefined> {
    const { kvs } = await this.#range(`read the network config ${this.#options.key}`, signal);
    return kvs[0]?.value.toString();
  }

  /** Only over `previous`: false when it had changed or was gone. */
  async replace(previous: string, text: string, signal: AbortSignal): Promise<boolean> {
    const { key } = this.#options;
    const targetUnion = { $case: 'value', value: Buffer.from(previous) } as const;
    const condition = { key, result: CompareResult.EQUAL, target: CompareTarget.VALUE, targetUnion };
    const requestPut = { key, value: Buffer.from(text) };
    const put = RequestOp.create({ request: { $case: 'requestPut', requestPut } });
    const request = { compare: [{ ...condition, rangeEnd: Buffer.alloc(0) }], success: [put], failure: [] };
    const call = { what: `write the network config ${key}`, repeatable: false };
    return (await this.#connection.call(KVService.txn, request, call, signal)).succeeded;
  }

  /** The text now, and whenever it may be another. Ends by throwing, as a watch does. */
  async *watch(signal: AbortSignal): AsyncGenerator<string | undefined, void> {
    const { key, patience } = this.#options;
    const what = `watch the network config ${key}`;
    for (;;) {
      const { kvs, header } = await this.#range(what, signal);
      yield kvs[0]?.value.toString();
      const options = {
        patience,
        what,
        ranges: [{ key, rangeEnd: Buffer.alloc(0) }],
        startRevision: (header?.revision ?? 0n) + 1n,
        probeKey: key,
      };
      try {
        for await (const { events } of watchRanges(this.#connection, options, signal)) {
          const last = events.at(-1);
          if (last !== undefined)
            yield last.type === EventType.DELETE ? undefined : last.kv?.value.toString();
        }
      } catch (error) {
        // Read it again: the last change counts, not each of them.
        if (!(error instanceof CompactedError)) throw error;
      }
    }
  }

  #range(what: string, signal: AbortSignal): Promise<RangeResponse> {
    const request = RangeRequest.create({ key: this.#options.key });
    return this.#connection.call(KVService.range, request, { what, repeatable: true }, signal);
  }
}
