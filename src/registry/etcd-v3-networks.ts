import { posix } from 'node:path';
import { CompareResult, CompareTarget } from '#src/etcd/names.ts';
import { type Compare, type KeyValue, KVService, RangeRequest, RequestOp } from '#src/etcd/rpc.ts';
import { CompactedError } from '#src/registry/errors.ts';
import type { EtcdComponents } from '#src/registry/etcd-options.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { type EtcdV3Options, watchPatience } from '#src/registry/etcd-v3-options.ts';
import { endOf, type KeyRange, type WatchPatience, watchRanges } from '#src/registry/etcd-v3-watch.ts';
import { assertNetworkName, isNetworkName, type Networks, RESERVED_FOLDERS } from '#src/registry/networks.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Several keys of a network are written together: look once they are there. */
const SETTLE_MS = 200;
const NOTHING = Buffer.alloc(0);

/**
 * The networks below a prefix in etcd's v3 store, which has no folders. A list goes from name to name, so that the leases of
 * a network are neither read nor counted; a watch leaves them out, too.
 */
export class EtcdV3Networks implements Networks {
  readonly api = 'v3';
  readonly description: string;
  readonly #connection: EtcdConnection;
  readonly #clock: Clock;
  readonly #patience: WatchPatience;
  /** With its slash. */
  readonly #folder: string;

  constructor(components: EtcdComponents, { prefix, ...options }: EtcdV3Options) {
    this.#connection = new EtcdConnection(components, options);
    this.#clock = components.clock;
    this.#patience = watchPatience(options);
    this.#folder = posix.join(prefix, '/');
    this.description = `etcd v3 at ${this.#connection.ring}, below ${this.#folder}`;
  }

  async list(signal: AbortSignal): Promise<readonly string[]> {
    return (await this.#look(signal)).names;
  }

  async *watch(signal: AbortSignal): AsyncGenerator<readonly string[], void> {
    for (;;) {
      const { names, revision } = await this.#look(signal);
      yield names;
      try {
        await this.#untilChange(names, revision, signal);
        await this.#clock.sleep(SETTLE_MS, signal);
      } catch (error) {
        if (!(error instanceof CompactedError)) throw error;
      }
    }
  }

  async readConfig(name: string, signal: AbortSignal): Promise<string | undefined> {
    const key = this.#configKey(name);
    const { kvs } = await this.#range({ key }, `read the network config ${key}`, signal);
    return kvs[0]?.value.toString();
  }

  async writeConfig(
    name: string,
    text: string,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    assertNetworkName(name);
    const key = this.#configKey(name);
    const requestPut = { key, value: Buffer.from(text) };
    const put = RequestOp.create({ request: { $case: 'requestPut', requestPut } });
    return this.#transact(key, previous, put, `write the network config ${key}`, signal);
  }

  async removeConfig(name: string, previous: string, signal: AbortSignal): Promise<boolean> {
    const key = this.#configKey(name);
    const remove = RequestOp.create({
      request: { $case: 'requestDeleteRange', requestDeleteRange: { key } },
    });
    return this.#transact(key, previous, remove, `remove the network config ${key}`, signal);
  }

  async close(): Promise<void> {
    this.#connection.close();
  }

  /** The names as of one revision. */
  async #look(signal: AbortSignal): Promise<{ names: string[]; revision: bigint }> {
    const what = `list the networks below ${this.#folder}`;
    const names: string[] = [];
    const rangeEnd = endOf(Buffer.from(this.#folder));
    let revision = 0n;
    for (let key: Buffer = Buffer.from(this.#folder); ; ) {
      const request = { key, rangeEnd, limit: 1n, keysOnly: true, revision };
      const { kvs, header } = await this.#range(request, what, signal);
      if (revision === 0n) revision = header?.revision ?? 0n;
      const [next] = kvs;
      if (next === undefined) return { names, revision };
      const name = this.#nameOf(next);
      if (name === undefined) {
        key = Buffer.concat([next.key, Buffer.from([0])]);
        continue;
      }
      const config = { key: this.#configKey(name), countOnly: true, revision };
      const isNetwork = isNetworkName(name) && (await this.#range(config, what, signal)).count > 0n;
      if (isNetwork) names.push(name);
      key = endOf(Buffer.from(`${this.#folder}${name}/`));
    }
  }

  /** Resolves at a change of a known network's config, or of anything that is not a known network's. */
  async #untilChange(names: readonly string[], revision: bigint, signal: AbortSignal): Promise<void> {
    const options = {
      patience: this.#patience,
      what: `watch the networks below ${this.#folder}`,
      ranges: this.#rangesBeside(names),
      startRevision: revision + 1n,
      probeKey: Buffer.from(this.#folder),
    };
    for await (const { events } of watchRanges(this.#connection, options, signal)) {
      if (events.length > 0) return;
    }
  }

  /** The whole folder but for what the known networks have, beside their configs, and what the tenants have. */
  #rangesBeside(names: readonly string[]): KeyRange[] {
    const ranges: KeyRange[] = names.map((name) => ({ key: this.#configKey(name), rangeEnd: NOTHING }));
    let key: Buffer = Buffer.from(this.#folder);
    const folders = [...names, ...RESERVED_FOLDERS]
      .map((name) => Buffer.from(`${this.#folder}${name}/`))
      .sort(Buffer.compare);
    for (const folder of folders) {
      if (Buffer.compare(key, folder) < 0) ranges.push({ key, rangeEnd: folder });
      key = endOf(folder);
    }
    const rangeEnd = endOf(Buffer.from(this.#folder));
    if (Buffer.compare(key, rangeEnd) < 0) ranges.push({ key, rangeEnd });
    return ranges;
  }

  /** `undefined` for a key of the folder itself. */
  #nameOf({ key }: KeyValue): string | undefined {
    const rest = key.toString().slice(this.#folder.length);
    const slash = rest.indexOf('/');
    return slash < 0 ? undefined : rest.slice(0, slash);
  }

  #range(fields: Partial<RangeRequest>, what: string, signal: AbortSignal) {
    const call = { what, repeatable: true };
    return this.#connection.call(KVService.range, RangeRequest.create(fields), call, signal);
  }

  async #transact(
    key: Buffer,
    previous: string | undefined,
    operation: RequestOp,
    what: string,
    signal: AbortSignal,
  ): Promise<boolean> {
    const condition: Pick<Compare, 'target' | 'targetUnion'> =
      previous === undefined
        ? { target: CompareTarget.VERSION, targetUnion: { $case: 'version', version: 0n } }
        : {
            target: CompareTarget.VALUE,
            targetUnion: { $case: 'value', value: Buffer.from(previous) },
          };
    const compare = [{ key, result: CompareResult.EQUAL, ...condition, rangeEnd: NOTHING }];
    const request = { compare, success: [operation], failure: [] };
    const call = { what, repeatable: false };
    return (await this.#connection.call(KVService.txn, request, call, signal)).succeeded;
  }

  #configKey(name: string): Buffer {
    return Buffer.from(`${this.#folder}${name}/config`);
  }
}
