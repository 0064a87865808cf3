import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import type { HeldBefore } from '#src/membership/acquire-lease.ts';
import type { Remembered } from '#src/membership/remembered.ts';
import { KnownKeys } from '#src/network/known-keys.ts';
import type { Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { LeaseTable } from '#src/network/lease-table.ts';
import { networkOf } from '#src/network/signed-lease.ts';
import { isUsable, type Ranges } from '#src/network/subnet-range.ts';
import { TrustJudge } from '#src/network/trust-judge.ts';
import { shortKey, shownSubnet, type TrustPolicy } from '#src/network/trust-policy.ts';
import { parseTrustedKeys, type TrustedKeys } from '#src/network/trusted-keys.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { KnownKeysFile } from '#src/node/known-keys-file.ts';
import { LeaseSigner } from '#src/node/lease-signer.ts';
import type { NetworkArtefacts, NetworkId } from '#src/node/network-id.ts';
import { readNodeKey } from '#src/node/node-key.ts';
import { TrustGate } from '#src/node/trust-gate.ts';
import type { TrustStatus } from '#src/observe/node-status.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import { loadEd25519 } from '#src/sys/ed25519.ts';
import type { Files } from '#src/sys/files.ts';

export interface NetworkTrustComponents {
  readonly files: Files;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: HostEvents;
}

type TrustOptions = Pick<FlanneldOptions, 'trust' | 'trustFile' | 'trustUnsigned' | 'leaseTtl' | 'stateDir'>;

/** How often files that an operator may change are looked at. */
const LOOK_EVERY_MS = 1_000;
const EXPIRE_EVERY_MS = 60_000;

/**
 * Whose leases one network of this host uses, and by which key it signs its own. With `--trust=off` there is a key only where
 * an earlier start has made one. All leases are used then, and nothing here costs anything.
 */
export class NetworkTrust {
  readonly #components: NetworkTrustComponents;
  readonly #options: TrustOptions;
  readonly #network: string;
  readonly #forgetFile: string;
  readonly #file: KnownKeysFile;
  #signer: LeaseSigner | undefined;
  #known = new KnownKeys();
  #trusted: TrustedKeys | undefined;
  #trustText: string | undefined;
  #ed25519: Awaited<ReturnType<typeof loadEd25519>> | undefined;
  #gate: TrustGate | undefined;
  #recalled: readonly RawLease[] = [];
  #keeps = true;
  #own: Subnets | undefined;
  #troubles: readonly string[] = [];

  constructor(
    components: NetworkTrustComponents,
    options: TrustOptions,
    { prefix }: NetworkId,
    { knownKeysFile, forgetFile }: Pick<NetworkArtefacts, 'knownKeysFile' | 'forgetFile'>,
  ) {
    this.#components = components;
    this.#options = options;
    this.#network = networkOf(prefix);
    this.#forgetFile = forgetFile;
    this.#file = new KnownKeysFile(components, knownKeysFile, this.#network);
  }

  /** Whether leases are looked at before they are used. */
  get isOn(): boolean {
    return this.#options.trust !== 'off';
  }

  /** What is not as it should be, one clause each. */
  get troubles(): readonly string[] {
    return this.#troubles;
  }

  /** `undefined` while all leases are used, signed or not. */
  get status(): TrustStatus | undefined {
    const { trust } = this.#options;
    if (trust === 'off') return undefined;
    return {
      policy: trust,
      unsigned: this.#policy.unsigned,
      key: this.#signer?.publicKey ?? '',
      knownKeys: this.#known.size,
      disputed: [...(this.#gate?.disputes.keys() ?? [])],
      refusals: this.#gate?.refusals ?? 0,
    };
  }

  /** How this node's leases are signed; `undefined` where they are not. */
  get sign(): LeaseSigner['sign'] | undefined {
    const signer = this.#signer;
    return signer && ((name, attributes, before) => signer.sign(name, attributes, before));
  }

  /**
   * Reads the files. Without `keeps` nothing is ever written: for `weft plan`. Throws WeftError `node-key`, `known-keys` or `trust-file`:
   * what can't be read is not a reason to trust everybody.
   */
  async open(keeps = true): Promise<void> {
    this.#keeps = keeps;
    const { files, clock, log } = this.#components;
    const key = await readNodeKey({ files, log }, { ...this.#options, makes: this.isOn, keeps });
    this.#signer = key && new LeaseSigner({ clock }, key, this.#network);
    if (!this.isOn) return;
    this.#ed25519 = await loadEd25519();
    this.#known = await this.#file.read();
    if (this.#options.trust === 'allow-list') await this.#readTrustFile();
    if (keeps) await this.#takeForgotten();
  }

  /** What an earlier run knew: counts go on after its own, and its good peers stand for what was written over them since. */
  recall(own: { readonly name: string; readonly value: string }, peers: readonly RawLease[]): void {
    const decoded = decodeAttributes(own.value);
    if (decoded.ok) this.#signer?.recall(own.name, decoded.attributes);
    this.#recalled = peers;
  }

  /**
   * The lease of the last run, where this node signed it and it has not ended: no other host that goes by signatures takes it
   * before. A reservation has no end.
   */
  heldBefore({ own, heldUntil }: Pick<Remembered, 'own' | 'heldUntil'>): HeldBefore | undefined {
    if (!this.isOn || (heldUntil ?? Number.POSITIVE_INFINITY) <= this.#components.clock.now())
      return undefined;
    const decoded = decodeAttributes(own.value);
    if (!decoded.ok || !this.#signer?.hasSigned(own.name, decoded.attributes)) return undefined;
    return { name: own.name, attributes: decoded.attributes };
  }

  /**
   * The subnets to ask for: those of the last run, or the first that the trust file names for this node where peers would
   * refuse these, or where there are none.
   */
  preferred(previous: Subnets, ranges: Ranges): Subnets {
    const [trusted, key] = [this.#trusted, this.#signer?.publicKey];
    if (trusted === undefined || key === undefined) return previous;
    const has = previous.v4 !== undefined || previous.v6 !== undefined;
    if (has && trusted.allows(key, previous)) return previous;
    const named = trusted.namedFor(key);
    const v4 = named.find((it) => it.family === 4 && ranges.v4 !== undefined && isUsable(ranges.v4, it));
    const v6 = named.find((it) => it.family === 6 && ranges.v6 !== undefined && isUsable(ranges.v6, it));
    return {
      ...(v4?.family === 4 && { v4 }),
      ...(v6?.family === 6 && { v6 }),
    };
  }

  /** These are ours: said where hosts with the same trust file would refuse them. */
  holds(own: Subnets): void {
    this.#own = own;
    this.#sayOwn();
  }

  #sayOwn(): void {
    const [trusted, own, key] = [this.#trusted, this.#own, this.#signer?.publicKey];
    const isRefused =
      trusted !== undefined && own !== undefined && key !== undefined && !trusted.allows(key, own);
    this.#say(
      'own key',
      isRefused
        ? `the trust file ${this.#options.trustFile} does not name this host's key for its own subnet: hosts with the same file do not use its lease; "weft trust allow ${key} SUBNET" adds it`
        : undefined,
    );
  }

  /** What stands before the table; `undefined` where all leases are used, signed or not. */
  gateFor(table: LeaseTable): TrustGate | undefined {
    const [ed25519, signer] = [this.#ed25519, this.#signer];
    if (ed25519 === undefined || signer === undefined) return undefined;
    const judge = new TrustJudge(
      { table, known: this.#known, digest: ed25519.digest },
      {
        network: this.#network,
        ownKey: signer.publicKey,
        holdMs: this.#options.leaseTtl,
        policy: this.#policy,
      },
    );
    judge.recall(this.#recalled);
    this.#recalled = [];
    this.#gate = new TrustGate({ ...this.#components, judge, table, ed25519 });
    return this.#gate;
  }

  /**
   * Follows what an operator changes, and writes down which keys are known, until the signal aborts. `judgeAgain`: another
   * thing holds of the records.
   */
  async follow(judgeAgain: () => Promise<void>, signal: AbortSignal): Promise<void> {
    if (!this.isOn || !this.#keeps) return;
    const { clock } = this.#components;
    let expiredAt = clock.monotonic();
    try {
      for (;;) {
        await untilBeat(clock, LOOK_EVERY_MS, signal);
        let isOther = await this.#takeForgotten();
        if (this.#options.trust === 'allow-list') isOther = (await this.#trustFileChanged()) || isOther;
        if (clock.monotonic() - expiredAt >= EXPIRE_EVERY_MS) {
          expiredAt = clock.monotonic();
          isOther = this.#gate?.expire() || isOther;
        }
        if (isOther) await judgeAgain();
        await this.#writeKnown();
      }
    } finally {
      await this.#writeKnown();
    }
  }

  get #policy(): TrustPolicy {
    const { trust, trustUnsigned } = this.#options;
    const byDefault = trust === 'allow-list' ? 'refuse' : 'accept';
    return { unsigned: trustUnsigned === 'auto' ? byDefault : trustUnsigned, trusted: this.#trusted };
  }

  async #readTrustFile(): Promise<void> {
    const { trustFile } = this.#options;
    const text = await this.#components.files.read(trustFile);
    if (text === undefined)
      throw new WeftError('trust-file', `there is no file ${trustFile} with the keys that may hold leases`, {
        remedy: 'make it with "weft trust allow KEY SUBNET"; "weft trust show" on a host prints its key',
      });
    this.#trusted = parseTrustedKeys(text, trustFile);
    this.#trustText = text;
  }

  /** True when it says something else. One that can't be read changes nothing: the last one goes on. */
  async #trustFileChanged(): Promise<boolean> {
    const before = this.#trustText;
    const trouble = await this.#readTrustFile().then(() => undefined, messageOf);
    this.#say(
      'trust file',
      trouble === undefined ? undefined : `${trouble}; the last one that could be read goes on`,
    );
    if (this.#trustText === before) return false;
    this.#components.log.info(`The trust file ${this.#options.trustFile} has changed`);
    this.#gate?.use(this.#policy);
    this.#sayOwn();
    return true;
  }

  /** Forgets what "weft trust forget" has asked for. True when something was known of it. */
  async #takeForgotten(): Promise<boolean> {
    const { files, log } = this.#components;
    try {
      const text = await files.read(this.#forgetFile);
      if (text === undefined) return false;
      let isOther = false;
      for (const key of text.split('\n').filter(Boolean)) {
        const gone = this.#known.forget(key);
        if (gone === undefined) continue;
        isOther = true;
        log.info(`Forgot the key ${shortKey(key)}: ${shownSubnet(gone.name)} is free for another`);
      }
      await this.#file.write(this.#known);
      await files.remove(this.#forgetFile);
      this.#say('forget', undefined);
      return isOther;
    } catch (error) {
      this.#say('forget', `keys could not be forgotten (${this.#forgetFile}): ${messageOf(error)}`);
      return false;
    }
  }

  async #writeKnown(): Promise<void> {
    try {
      await this.#file.write(this.#known);
      this.#say('known keys', undefined);
    } catch (error) {
      this.#say(
        'known keys',
        `the known keys could not be written to ${this.#file.path}: after a restart they are unknown: ${messageOf(error)}`,
      );
    }
  }

  readonly #said = new Map<string, string>();

  /** Once for each trouble. */
  #say(about: string, trouble: string | undefined): void {
    if (this.#said.get(about) === trouble) return;
    if (trouble === undefined) this.#said.delete(about);
    else {
      this.#said.set(about, trouble);
      this.#components.log.error(trouble);
    }
    this.#troubles = [...this.#said.values()];
  }
}
