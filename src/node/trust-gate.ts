import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import { byAge } from '#src/network/by-age.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import type { LeaseTable } from '#src/network/lease-table.ts';
import type { Dispute, Question, TrustJudge } from '#src/network/trust-judge.ts';
import { shortKey, shownSubnet, type TrustPolicy } from '#src/network/trust-policy.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Ed25519 } from '#src/sys/ed25519.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

export interface TrustGateComponents {
  readonly judge: TrustJudge;
  readonly table: Pick<LeaseTable, 'record' | 'records' | 'isOwn'>;
  readonly ed25519: Pick<Ed25519, 'verify'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: HostEvents;
}

/** Records whose signatures are verified at a time: some for each of node's threads. */
const WINDOW = 64;

/**
 * Stands before the table of leases: hands it records with what {@link TrustJudge} says of them, and names disputes. The event
 * loop has its turn in between: 50,000 signatures take seconds.
 */
export class TrustGate {
  readonly #components: TrustGateComponents;
  /** What was said of the disputes. */
  readonly #said = new Map<string, Dispute>();

  constructor(components: TrustGateComponents) {
    this.#components = components;
  }

  get disputes(): ReadonlyMap<string, Dispute> {
    return this.#components.judge.disputes;
  }

  get refusals(): number {
    return this.#components.judge.refusals;
  }

  /** Another policy; {@link again} judges by it what there is. */
  use(policy: TrustPolicy): void {
    this.#components.judge.use(policy);
  }

  /** All records there are, as the table shall have them. */
  async list(records: readonly RawLease[]): Promise<RawLease[]> {
    const { judge, clock } = this.#components;
    judge.beginList(new Set(records.map(({ name }) => name)));
    const judged = await this.#judgeAll(records);
    judge.endList(clock.now());
    return judged;
  }

  /** Records that came or changed, as the table shall have them, and others of which something else holds now. */
  put(records: readonly RawLease[]): Promise<RawLease[]> {
    return this.#judgeAll(records);
  }

  /** Records that are gone from the registry. */
  removed(names: Iterable<string>): void {
    const { judge, clock } = this.#components;
    for (const name of names) {
      judge.removed(name, clock.now());
      this.#said.delete(name);
    }
  }

  /** All records, judged again: other keys may hold subnets, or there are other rules. */
  again(): Promise<RawLease[]> {
    const disputed = Array.from(this.disputes.values(), ({ raw }) => raw);
    const others = [...this.#components.table.records()].filter(({ name }) => !this.disputes.has(name));
    return this.#judgeAll([...others, ...disputed]);
  }

  /** Lets go of keys that had no lease for too long. True when records have to be judged again. */
  expire(): boolean {
    const { judge, clock, log } = this.#components;
    const now = clock.now();
    const isOver = judge.isOver(now);
    const gone = judge.expire(now);
    for (const { key, name } of gone)
      log.info(
        `The key ${shortKey(key)} has had no lease for too long: ${shownSubnet(name)} is free for another`,
      );
    return isOver || gone.length > 0;
  }

  async #judgeAll(records: readonly RawLease[]): Promise<RawLease[]> {
    const { judge, table, clock } = this.#components;
    const judged = new Map<string, RawLease>();
    const budget = new TurnBudget(clock);
    for (const slice of byAge(records, WINDOW)) {
      for (const raw of await this.#judgeSome(slice)) judged.set(raw.name, raw);
      await budget.turn();
    }
    const asItIs = (name: string): RawLease | undefined => judged.get(name) ?? table.record(name);
    for (let raws = judge.takeAgain(asItIs); raws.length > 0; raws = judge.takeAgain(asItIs)) {
      for (const raw of await this.#judgeSome(raws)) judged.set(raw.name, raw);
    }
    this.#sayDisputes();
    return [...judged.values()];
  }

  async #judgeSome(records: readonly RawLease[]): Promise<RawLease[]> {
    const { judge, table, ed25519, clock } = this.#components;
    const questions: Question[] = [];
    for (const raw of records) if (!table.isOwn(raw)) questions.push(judge.ask(raw));
    const answers = await Promise.all(
      questions.map(({ toVerify }) => toVerify === undefined || ed25519.verify(toVerify)),
    );
    return questions.map((question, at) => judge.decide(question, answers[at] === true, clock.now()));
  }

  #sayDisputes(): void {
    const { log, events } = this.#components;
    for (const [name, dispute] of this.disputes) {
      const before = this.#said.get(name);
      if (before?.raw.value === dispute.raw.value && before.reason === dispute.reason) continue;
      this.#said.set(name, dispute);
      log.warning(
        `Ignoring the lease ${name}: ${dispute.reason}; packets go on to the host that held it before`,
        { lease: name },
      );
      events.note({
        type: 'lease',
        severity: 'error',
        subject: name,
        text: `What was written over it is not used: ${dispute.reason}; packets go on to the host that held it`,
      });
    }
    for (const name of this.#said.keys()) {
      if (this.disputes.has(name)) continue;
      this.#said.delete(name);
      log.info(`The lease ${name} is not disputed any more`);
      events.note({ type: 'lease', severity: 'info', subject: name, text: 'It is not disputed any more' });
    }
  }
}
