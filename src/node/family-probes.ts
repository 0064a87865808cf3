import type { Backend } from '#src/backend/backend.ts';
import type { OwnEnds } from '#src/backend/probe-ends.ts';
import type { Judgement } from '#src/diagnose/probes/judge.ts';
import { Prober } from '#src/diagnose/probes/prober.ts';
import { Responder, type ResponderHandlers } from '#src/diagnose/responder/responder.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import type { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FamilyName } from '#src/lib/per-family.ts';
import type { Lease, Subnets } from '#src/network/lease.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { MeasuringSockets } from '#src/sys/measuring-sockets.ts';
import type { Random } from '#src/sys/random.ts';

export interface FamilyProbesComponents {
  readonly sockets: MeasuringSockets;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
}

export interface FamilyProbesOptions {
  /** Whether peers are measured. */
  readonly probes: boolean;
  /** Packets a second, at most. */
  readonly budget: number;
  /** Of the responders; 0 for none. */
  readonly port: number;
  readonly handlers: ResponderHandlers;
  readonly onChange: (lease: string, judgement: Judgement) => void;
  readonly onTrouble: (trouble: string | undefined) => void;
}

/** Probes and responder of one network, for packets of one family inside. */
export class FamilyProbes {
  readonly family: FamilyName;
  readonly prober: Prober;
  readonly #responder: Responder;
  readonly #options: FamilyProbesOptions;
  /** The addresses that the responder answers, by lease. */
  readonly #askers = new Map<string, Ip>();
  readonly #accepted = new Map<Ip, string>();
  #own: OwnEnds | undefined;

  constructor(family: FamilyName, components: FamilyProbesComponents, options: FamilyProbesOptions) {
    const { sockets, clock, random, log } = components;
    const { budget, port, handlers, onChange, onTrouble } = options;
    this.family = family;
    this.#options = options;
    this.prober = new Prober({ ...sockets, clock, random, log }, { budget, port, onChange });
    this.#responder = new Responder(
      { ...sockets, clock, log },
      { port, accepts: (from) => this.#accepted.has(from), handlers, onTrouble },
    );
  }

  /** Runs until `life` ends. */
  run(life: Lifetime): void {
    const { probes, port } = this.#options;
    if (probes) life.run((ended) => this.prober.run(ended));
    if (port > 0) life.run((ended) => this.#responder.run(ended));
  }

  /** Whether this host has ends of the family. */
  get isUsed(): boolean {
    return this.#own !== undefined;
  }

  /**
   * What a backend says of this host's ends. Peers are measured again only where these are others. They have to be put again;
   * until a peer is, its address is answered as before.
   */
  adopt({ probing }: Pick<Backend, 'probing'>, subnets: Subnets): void {
    const own = probing?.ownEnds(this.family, subnets);
    if (keyOf(own) !== keyOf(this.#own)) {
      this.#own = own;
      this.prober.use(own);
      this.#responder.use(own?.responder);
    }
  }

  put({ probing }: Pick<Backend, 'probing'>, lease: Lease): void {
    const ends = probing?.peerEnds(this.family, lease);
    if (ends === undefined) {
      this.remove(lease.name);
      return;
    }
    this.#forgetAsker(lease.name);
    this.#askers.set(lease.name, ends.responder);
    this.#accepted.set(ends.responder, lease.name);
    if (this.#options.probes) this.prober.put(lease.name, ends);
  }

  remove(name: string): void {
    this.#forgetAsker(name);
    this.prober.remove(name);
  }

  /** An address may be another lease's by now. */
  #forgetAsker(name: string): void {
    const address = this.#askers.get(name);
    this.#askers.delete(name);
    if (address !== undefined && this.#accepted.get(address) === name) this.#accepted.delete(address);
  }
}

/** Two that are alike have the same. */
const keyOf = (own: OwnEnds | undefined): string => {
  if (own === undefined) return '';
  const { inside, outside, responder, ...rest } = own;
  return JSON.stringify([...[inside, outside, responder].map(formatIp), rest]);
};
