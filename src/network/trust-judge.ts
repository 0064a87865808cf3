import type { KnownKey, KnownKeys } from '#src/network/known-keys.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { Identity, Judgement, RawLease } from '#src/network/lease-rules.ts';
import type { LeaseTable } from '#src/network/lease-table.ts';
import {
  type LeaseSignature,
  readSignature,
  type SignatureRead,
  signedText,
} from '#src/network/signed-lease.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { faultOfClaim, mayHold, shortKey, type TrustPolicy } from '#src/network/trust-policy.ts';

export interface TrustJudgeComponents {
  readonly table: Pick<LeaseTable, 'judge' | 'record'>;
  readonly known: KnownKeys;
  /** SHA-256 in base64url. */
  readonly digest: (text: string) => string;
}

export interface TrustJudgeOptions {
  /** See {@link networkOf}. */
  readonly network: string;
  /** That of this host: on a lease of another it is a copy. */
  readonly ownKey: string;
  /** For so long a key keeps its subnet, and a peer its way, without a good lease in the registry. In milliseconds. */
  readonly holdMs: number;
  readonly policy: TrustPolicy;
}

/** A record in the registry that is not used, while the last good lease of its subnet is. */
export interface Dispute {
  readonly raw: RawLease;
  readonly reason: string;
  /** Since when there is no good lease, in milliseconds since the epoch. */
  readonly since: number;
}

/** A record whose turn has come, and what has to be verified for it. */
export interface Question {
  readonly raw: RawLease;
  readonly judgement: Judgement;
  readonly signature: SignatureRead;
  /** Of the signed text. */
  readonly digest: string;
  /** Absent where the signature does not matter, or is known to be valid. */
  readonly toVerify?: { readonly publicKey: string; readonly text: string; readonly signature: string };
}

/**
 * Says of each record whether who wrote it may hold its subnet. A record that may not be used gets the reason, and the table
 * leaves it out. Where it was written over a good lease, the good one goes on instead, so that a writer of the registry can't
 * cut a host off by that: a dispute. It ends with a good lease from the subnet's key, or when there was none for `holdMs`.
 *
 * All times are those of the wall clock, in milliseconds since the epoch: they outlive the process.
 */
export class TrustJudge {
  readonly #components: TrustJudgeComponents;
  readonly #options: TrustJudgeOptions;
  readonly #disputes = new Map<string, Dispute>();
  /** Names whose records have to be judged again, and the record where it is a new one. */
  readonly #again = new Map<string, RawLease | undefined>();
  /** Keys of which this list has a good lease; `undefined` between lists. */
  #confirmed: Set<string> | undefined;
  #policy: TrustPolicy;
  /** Peers of an earlier run: what was good then stands for a record that is not good now. */
  #recalled: ReadonlyMap<string, RawLease> = new Map();
  #refusals = 0;

  constructor(components: TrustJudgeComponents, options: TrustJudgeOptions) {
    this.#components = components;
    this.#options = options;
    this.#policy = options.policy;
  }

  get disputes(): ReadonlyMap<string, Dispute> {
    return this.#disputes;
  }

  /** Records that were refused since the start; one that is the same when it comes again does not count again. */
  get refusals(): number {
    return this.#refusals;
  }

  /** Another policy: it holds for what is judged from here on. */
  use(policy: TrustPolicy): void {
    this.#policy = policy;
  }

  recall(records: Iterable<RawLease>): void {
    this.#recalled = new Map(Array.from(records, (raw) => [raw.name, raw]));
  }

  /** A list of all records begins: those of them are asked about next. */
  beginList(names: ReadonlySet<string>): void {
    for (const name of this.#disputes.keys()) if (!names.has(name)) this.#disputes.delete(name);
    this.#confirmed = new Set();
  }

  /** The list has been judged: keys of which it had no good lease have none in the registry. */
  endList(now: number): void {
    const confirmed = this.#confirmed ?? new Set();
    this.#confirmed = undefined;
    this.#recalled = new Map();
    const { known } = this.#components;
    const missing = [...known.all()].filter(({ key, goneAt }) => goneAt === undefined && !confirmed.has(key));
    for (const { key } of missing) known.seen(key, now);
  }

  /** A record is gone from the registry. */
  removed(name: string, now: number): void {
    this.#disputes.delete(name);
    const pin = this.#pinOf(name);
    if (pin !== undefined && pin.goneAt === undefined) this.#components.known.seen(pin.key, now);
  }

  /** Forgets keys whose time is over, and returns them. Their subnets' records have to be judged again. */
  expire(now: number): KnownKey[] {
    const { known } = this.#components;
    const due = known.due(now, this.#options.holdMs);
    for (const { key } of due) known.forget(key);
    return due;
  }

  /** Whether a dispute has come to its end. */
  isOver(now: number): boolean {
    return [...this.#disputes.values()].some(({ since }) => now - since >= this.#options.holdMs);
  }

  /**
   * The records that have to be judged again because of what was decided since: their key has moved on, or the key that stood
   * in their way has. `now`: the record of a name as it is to be.
   */
  takeAgain(now: (name: string) => RawLease | undefined): RawLease[] {
    const again = [...this.#again];
    this.#again.clear();
    return again.flatMap(([name, raw]) => raw ?? this.#disputes.get(name)?.raw ?? now(name) ?? []);
  }

  /** What has to be verified for a record. Which keys are known may be different when it is decided on. */
  ask(raw: RawLease): Question {
    const { table, known, digest: digestOf } = this.#components;
    const judgement = table.judge(raw);
    const attributes = judgement.fit ? judgement.lease.attributes : attributesOf(raw);
    const signature = attributes === undefined ? UNSIGNED : readSignature(attributes);
    const question = { raw, judgement, signature, digest: '' };
    if (signature.kind !== 'signed' || attributes === undefined) return question;
    const matters = judgement.fit
      ? this.#faultOf(judgement, signature) === undefined
      : this.#pinOf(raw.name)?.key === signature.key;
    if (!matters) return question;
    const text = this.#textOf(raw.name, attributes, signature);
    const digest = digestOf(text);
    const before = known.get(signature.key);
    if (before?.name === raw.name && before.count === signature.count && before.digest === digest)
      return { ...question, digest };
    return {
      ...question,
      digest,
      toVerify: { publicKey: signature.key, text, signature: signature.signature },
    };
  }

  /** The record as the table shall have it: as good, with the reason why it is not, or the good one that stands for it. */
  decide(question: Question, isValid: boolean, now: number): RawLease {
    const { raw, judgement, signature, digest } = question;
    const isProven = signature.kind === 'signed' && digest !== '' && isValid;
    if (!judgement.fit) return this.#decideUnfit(question, isProven, judgement.reason, now);
    const fault = this.#faultOf(judgement, signature);
    if (fault !== undefined) return this.#refuse(raw, fault, now);
    if (signature.kind !== 'signed') return this.#accept(raw);
    if (digest === '') {
      // Another key held the subnet when it was asked about.
      this.#again.set(raw.name, raw);
      return { ...raw, trust: 'its signature was not looked at yet' };
    }
    if (!isProven)
      return this.#refuse(raw, `its signature is not that of its key ${shortKey(signature.key)}`, now);
    this.#hold(raw.name, signature, digest, judgement.identity);
    return this.#accept(raw);
  }

  /** A record that nobody could use. Written by the subnet's own key it is that host's fault, and no dispute. */
  #decideUnfit(
    { raw, signature, digest }: Question,
    isProven: boolean,
    reason: string,
    now: number,
  ): RawLease {
    const pin = this.#pinOf(raw.name);
    if (pin === undefined) return this.#settled(raw);
    const isByHolder =
      signature.kind === 'signed' && signature.key === pin.key && signature.count >= pin.count;
    if (!isProven || !isByHolder) return this.#refuse(raw, reason, now);
    this.#hold(raw.name, signature, digest, undefined);
    return this.#settled(raw);
  }

  #faultOf(judgement: Judgement & { readonly fit: true }, signature: SignatureRead): string | undefined {
    const { lease, identity } = judgement;
    if (signature.kind === 'signed' && signature.key === this.#options.ownKey)
      return "its signature is of this host's own key: an old lease, or a host that was cloned";
    return faultOfClaim({ ...lease, identity }, signature, this.#components.known, this.#policy);
  }

  #hold(name: string, { key, count }: LeaseSignature, digest: string, identity: Identity): void {
    const { known } = this.#components;
    this.#confirmed?.add(key);
    const before = known.get(key);
    const isSame =
      before?.digest === digest && before.name === name && isSameIdentity(before.identity, identity);
    if (isSame && before.count === count) {
      known.seen(key);
      return;
    }
    const subnets = parseSubnetName(name) ?? {};
    // Those that the trust file no longer names for what they hold.
    for (;;) {
      const other = known.holderBeside(key, subnets) ?? known.identityBeside(key, identity)?.holder;
      if (other === undefined) break;
      known.forget(other.key);
      if (other.name !== name) this.#again.set(other.name, undefined);
    }
    known.hold({ key, name, count, digest, ...(identity !== undefined && { identity }) });
    if (before !== undefined && before.name !== name) this.#again.set(before.name, undefined);
  }

  #accept(raw: RawLease): RawLease {
    this.#disputes.delete(raw.name);
    return { ...raw, trust: true };
  }

  /** The table finds by itself why it can't be used. */
  #settled({ trust: _looked, ...raw }: RawLease): RawLease {
    this.#disputes.delete(raw.name);
    return raw;
  }

  #refuse(raw: RawLease, reason: string, now: number): RawLease {
    const { known, table } = this.#components;
    const pin = this.#pinOf(raw.name);
    const since = pin?.goneAt ?? this.#disputes.get(raw.name)?.since ?? now;
    if (pin !== undefined) known.seen(pin.key, since);
    const good = now - since < this.#options.holdMs ? this.#goodFor(raw, pin) : undefined;
    if (good === undefined) {
      this.#disputes.delete(raw.name);
      const before = table.record(raw.name);
      if (before?.value !== raw.value || before.trust !== reason) this.#refusals++;
      return { ...raw, trust: reason };
    }
    const before = this.#disputes.get(raw.name);
    if (before?.raw.value !== raw.value || before.reason !== reason) this.#refusals++;
    this.#disputes.set(raw.name, { raw, reason, since });
    return good;
  }

  /** The good lease that a record was written over. */
  #goodFor(raw: RawLease, pin: KnownKey | undefined): RawLease | undefined {
    const standing = this.#components.table.record(raw.name);
    if (standing?.trust === true && standing.value !== raw.value && this.#isStillGood(standing, pin))
      return standing;
    const recalled = this.#recalled.get(raw.name);
    const isIt = recalled !== undefined && pin !== undefined && this.#isStillGood(recalled, pin);
    return isIt ? { ...recalled, trust: true } : undefined;
  }

  #isStillGood(raw: RawLease, pin: KnownKey | undefined): boolean {
    const attributes = attributesOf(raw);
    if (attributes === undefined) return false;
    const signature = readSignature(attributes);
    if (signature.kind !== 'signed' || pin === undefined)
      return signature.kind === 'unsigned' && pin === undefined;
    if (signature.key !== pin.key || !mayHold(pin, this.#policy.trusted)) return false;
    return this.#components.digest(this.#textOf(raw.name, attributes, signature)) === pin.digest;
  }

  /** The key that holds exactly this subnet. */
  #pinOf(name: string): KnownKey | undefined {
    const subnets = parseSubnetName(name);
    const holder = subnets && this.#components.known.holderBeside(undefined, subnets);
    return holder?.name === name ? holder : undefined;
  }

  #textOf(name: string, attributes: LeaseAttributes, signature: LeaseSignature): string {
    return signedText({ network: this.#options.network, name }, attributes, signature);
  }
}

const isSameIdentity = (a: Identity, b: Identity): boolean =>
  a === b || JSON.stringify(a) === JSON.stringify(b);

const UNSIGNED: SignatureRead = { kind: 'unsigned' };

function attributesOf({ value }: RawLease): LeaseAttributes | undefined {
  const decoded = decodeAttributes(value);
  return decoded.ok ? decoded.attributes : undefined;
}
