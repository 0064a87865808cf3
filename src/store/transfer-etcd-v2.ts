import { WeftError } from '#src/lib/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdV2Http, type V2Body, type V2Node } from '#src/registry/etcd-v2-http.ts';
import type { Entry, TransferEnd } from '#src/store/transfer.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemRandom } from '#src/sys/random.ts';

const KEY_NOT_FOUND = 100;

/** A real etcd through its v2 API: keys are paths, values are text, and a key has a TTL of its own. */
export class EtcdV2End implements TransferEnd {
  readonly description: string;
  readonly #http: EtcdV2Http;

  constructor(options: Omit<EtcdOptions, 'prefix'>) {
    this.#http = new EtcdV2Http({ clock: systemClock, random: systemRandom }, options);
    this.description = `${this.#http.ring} (v2)`;
  }

  /** Only whole path elements make a prefix in v2. */
  async read(prefix: string, signal: AbortSignal): Promise<Entry[]> {
    const options = { what: `read the keys of ${this.description}`, repeatable: true };
    const key = `/${prefix.replace(/^\/+|\/+$/g, '')}`;
    const { body } = await this.#http.call(
      { method: 'GET', key, query: '?recursive=true&quorum=true' },
      options,
      signal,
    );
    if (body.errorCode === KEY_NOT_FOUND) return [];
    if (body.node === undefined) throw this.#refused(`read ${key}`, body);
    return [...leaves(body.node)].sort((a, b) => Buffer.compare(a.key, b.key));
  }

  check(entries: readonly Entry[]): void {
    const folders = new Set<string>();
    for (const { key } of entries) {
      for (let slash = key.lastIndexOf('/'); slash > 0; slash = key.lastIndexOf('/', slash - 1)) {
        folders.add(key.subarray(0, slash).toString());
      }
    }
    for (const { key, value } of entries) {
      const name = key.toString();
      const reason = !isText(key)
        ? 'it is no text'
        : !isText(value)
          ? 'its value is no text'
          : !name.startsWith('/') || name.endsWith('/') || name.includes('//')
            ? 'v2 keys are paths that begin with /'
            : folders.has(name)
              ? 'other keys are below it, and v2 has no value for a folder'
              : undefined;
      if (reason === undefined) continue;
      throw new WeftError('store-key', `etcd v2 cannot hold the key ${JSON.stringify(name)}: ${reason}`, {
        remedy: 'leave it out with --prefix, or use --etcd-api=v3',
      });
    }
  }

  async write(entries: readonly Entry[], overwrite: boolean, signal: AbortSignal): Promise<void> {
    for (const { key, value, lease } of entries) {
      const name = key.toString();
      const form: Record<string, string> = { value: value.toString() };
      if (lease !== undefined) form.ttl = String(lease.remaining);
      const query = overwrite ? '' : '?prevExist=false';
      const options = { what: `write ${name} to ${this.description}`, repeatable: overwrite };
      const { body } = await this.#http.call({ method: 'PUT', key: name, query, form }, options, signal);
      if (body.errorCode !== undefined) throw this.#refused(`write ${name}`, body);
    }
  }

  async close(): Promise<void> {
    this.#http.close();
  }

  #refused(what: string, { message, cause }: V2Body): WeftError {
    return new WeftError('store-target', `cannot ${what} at ${this.description}: ${message} (${cause})`);
  }
}

function* leaves({ key, value, ttl, expiration, dir, nodes }: V2Node): Generator<Entry> {
  for (const node of nodes ?? []) yield* leaves(node);
  // A node with an expiration and no TTL ends just now.
  if (dir === true || (expiration !== undefined && ttl === undefined)) return;
  yield {
    key: Buffer.from(key),
    value: Buffer.from(value ?? ''),
    ...(ttl !== undefined && { lease: { id: undefined, remaining: BigInt(ttl) } }),
  };
}

function isText(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString()).equals(bytes);
}
