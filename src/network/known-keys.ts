import { lastAddress } from '#src/lib/ip.ts';
import { RangeMap } from '#src/lib/range-map.ts';
import type { Subnets } from '#src/network/lease.ts';
import type { Identity } from '#src/network/lease-rules.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';

/** A key whose lease was accepted, and the lease that it was. */
export interface KnownKey {
  readonly key: string;
  /** The lease's name: the subnet that the key holds. */
  readonly name: string;
  /** That of its last signature that was accepted; an earlier one is a replay. */
  readonly count: number;
  /** SHA-256 of the text that it signed then: the same text need not be verified again. */
  readonly digest: string;
  /** What no two hosts share beside their subnets, such as VTEP MACs; absent where the backend has nothing of the kind. */
  readonly identity?: Identity;
  /** Since when the registry has no lease of it, in milliseconds since the epoch; absent while there is one. */
  readonly goneAt?: number;
}

/** More keys than a network of the size that weft is made for has hosts. Each takes 150 bytes in the file. */
const MOST = 131_072;

/**
 * Which key holds which subnet. A key holds one subnet, and no two keys hold subnets that overlap, or one identity: a lease
 * for a part of a subnet, or for several together, is a lease for that subnet.
 */
export class KnownKeys {
  readonly #byKey = new Map<string, KnownKey>();
  readonly #v4 = new RangeMap<number, KnownKey>();
  readonly #v6 = new RangeMap<bigint, KnownKey>();
  readonly #byIdentity = new Map<string, KnownKey>();
  #version = 0;

  /** Changes whenever there is something else to write down. */
  get version(): number {
    return this.#version;
  }

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<KnownKey> {
    return this.#byKey.values();
  }

  get(key: string): KnownKey | undefined {
    return this.#byKey.get(key);
  }

  /** Another key that holds the subnet, a part of it, or more than it. */
  holderBeside(key: string | undefined, subnets: Subnets): KnownKey | undefined {
    for (const holder of this.holdersBeside(key, subnets)) return holder;
    return undefined;
  }

  /** All such keys: several may hold parts of it. */
  *holdersBeside(key: string | undefined, { v4, v6 }: Subnets): Generator<KnownKey> {
    if (v4 !== undefined) {
      for (let from: number = v4.address; from <= lastAddress(v4); ) {
        const holder = this.#v4.overlapping(from, lastAddress(v4));
        const held = holder && parseSubnetName(holder.name)?.v4;
        if (holder === undefined || held === undefined) break;
        if (holder.key !== key) yield holder;
        from = lastAddress(held) + 1;
      }
    }
    if (v6 !== undefined) {
      for (let from: bigint = v6.address; from <= lastAddress(v6); ) {
        const holder = this.#v6.overlapping(from, lastAddress(v6));
        const held = holder && parseSubnetName(holder.name)?.v6;
        if (holder === undefined || held === undefined) break;
        if (holder.key !== key) yield holder;
        from = lastAddress(held) + 1n;
      }
    }
  }

  /** Another key that holds one of these identities, and which. */
  identityBeside(
    key: string | undefined,
    identity: Identity,
  ): { readonly holder: KnownKey; readonly what: string } | undefined {
    for (const what of listOf(identity)) {
      const holder = this.#byIdentity.get(what);
      if (holder !== undefined && holder.key !== key) return { holder, what };
    }
    return undefined;
  }

  /**
   * The key holds this subnet now, and no longer the one before. Throws RangeError when another key holds it, when the name is
   * none of a subnet, or when there is no room: ask {@link holderBeside}, {@link identityBeside} and {@link hasRoom} first.
   */
  hold(known: KnownKey): void {
    const before = this.#byKey.get(known.key);
    const subnets = parseSubnetName(known.name);
    if (subnets === undefined) throw new RangeError(`${known.name} is not the name of a subnet`);
    if (this.holderBeside(known.key, subnets) !== undefined)
      throw new RangeError(`${known.name} is held by another key`);
    const double = this.identityBeside(known.key, known.identity);
    if (double !== undefined) throw new RangeError(`${double.what} is held by another key`);
    if (!this.hasRoom(known.key)) throw new RangeError('there are too many keys');
    if (before !== undefined) this.#takeOut(before);
    this.#putIn(known);
    this.#byKey.set(known.key, known);
    this.#version++;
  }

  hasRoom(key: string): boolean {
    return this.#byKey.size < MOST || this.#byKey.has(key);
  }

  /** The registry has a lease of the key, or has none since `goneAt`. */
  seen(key: string, goneAt?: number): void {
    const known = this.#byKey.get(key);
    if (known === undefined || known.goneAt === goneAt) return;
    const { goneAt: _before, ...rest } = known;
    this.hold(goneAt === undefined ? rest : { ...rest, goneAt });
  }

  /** Forgets the key. Returns what it held. */
  forget(key: string): KnownKey | undefined {
    const known = this.#byKey.get(key);
    if (known === undefined) return undefined;
    this.#takeOut(known);
    this.#byKey.delete(key);
    this.#version++;
    return known;
  }

  /** Those without a lease for so long, in milliseconds, that their subnets are free. */
  due(now: number, afterMs: number): KnownKey[] {
    return [...this.#byKey.values()].filter(({ goneAt }) => goneAt !== undefined && now - goneAt >= afterMs);
  }

  #putIn(known: KnownKey): void {
    for (const identity of listOf(known.identity)) this.#byIdentity.set(identity, known);
    const { v4, v6 } = parseSubnetName(known.name) ?? {};
    if (v4 !== undefined) this.#v4.add(v4.address, lastAddress(v4), known);
    if (v6 !== undefined) this.#v6.add(v6.address, lastAddress(v6), known);
  }

  #takeOut({ name, identity }: KnownKey): void {
    for (const it of listOf(identity)) this.#byIdentity.delete(it);
    const { v4, v6 } = parseSubnetName(name) ?? {};
    if (v4 !== undefined) this.#v4.delete(v4.address);
    if (v6 !== undefined) this.#v6.delete(v6.address);
  }
}

const listOf = (identity: Identity): readonly string[] =>
  typeof identity === 'string' ? [identity] : (identity ?? []);

const FORMAT = 1;
const KEYS_A_PIECE = 500;

/** The text of the file, key by key: of 50,000 it is 8 MB. */
export function* formatKnownKeys(network: string, known: KnownKeys): Generator<string> {
  yield `${JSON.stringify({ format: FORMAT, network }).slice(0, -1)},"keys":[`;
  let piece: KnownKey[] = [];
  let isFirst = true;
  const text = (): string => {
    const joined = piece.map((it) => JSON.stringify(it)).join(',\n');
    piece = [];
    const before = isFirst ? '\n' : ',\n';
    isFirst = false;
    return before + joined;
  };
  for (const it of known.all()) {
    if (piece.push(it) === KEYS_A_PIECE) yield text();
  }
  if (piece.length > 0) yield text();
  yield ']}\n';
}

/** Reads the file. Throws an Error that says why it is not one of this network. */
export function parseKnownKeys(text: string, network: string): KnownKeys {
  const value: unknown = JSON.parse(text);
  const { format, network: of, keys } = (value ?? {}) as { [name: string]: unknown };
  if (format !== FORMAT || !Array.isArray(keys)) throw new Error('it has another format');
  if (of !== network) throw new Error(`it is that of the network ${JSON.stringify(of)}`);
  const known = new KnownKeys();
  for (const it of keys as unknown[]) {
    if (!isKnownKey(it)) throw new Error(`there is no key in ${JSON.stringify(it)?.slice(0, 100)}`);
    known.hold(it);
  }
  return known;
}

function isKnownKey(value: unknown): value is KnownKey {
  if (typeof value !== 'object' || value === null) return false;
  const { key, name, count, digest, identity, goneAt } = value as { [name: string]: unknown };
  return (
    typeof key === 'string' &&
    typeof name === 'string' &&
    Number.isSafeInteger(count) &&
    typeof digest === 'string' &&
    (identity === undefined || isText(identity) || (Array.isArray(identity) && identity.every(isText))) &&
    (goneAt === undefined || Number.isFinite(goneAt))
  );
}

const isText = (value: unknown): value is string => typeof value === 'string';
