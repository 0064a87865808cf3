import { WatchRequest } from '#src/etcd/rpc.ts';
import type { WatchPatience } from '#src/registry/etcd-v3-watch.ts';
import type { CallHandler, GrpcConnection } from './grpc-connection.ts';
import { readWatchAnswer, type WatchAnswer } from './watch-answer.ts';
import type { Wheel } from './wheel.ts';

export const WATCH = '/etcdserverpb.Watch/Watch';
export const RANGE = '/etcdserverpb.KV/Range';

const ASK = WatchRequest.encode({ requestUnion: { $case: 'progressRequest', progressRequest: {} } }).finish();
/** As src/registry/etcd-v3-watch.ts does. */
const WATCH_ID = 1;

/** What all watches count together. */
export interface Tally {
  /** Signs of life that were asked for, and those that did not come in time: a real host would go to another member. */
  asked: number;
  late: number;
  /** The longest time that one took, in milliseconds. */
  longestMs: number;
  /** Events of leases, by all watches. */
  heard: number;
  /** Watches that run. */
  open: number;
}

export interface WatchPlan {
  readonly key: Buffer;
  readonly rangeEnd: Buffer;
  /** What a sign of life is asked by where the server answers no requests for progress: an encoded RangeRequest. */
  readonly probe: Uint8Array;
  /** Its events are counted. */
  readonly ofLeases: boolean;
}

/** One watch of a played host: created, heard, and asked for signs of life as flanneld does. */
export class PlayedWatch implements CallHandler {
  readonly #plan: WatchPlan;
  readonly #tally: Tally;
  readonly #wheel: Wheel;
  readonly #patience: WatchPatience;
  readonly #ended: () => void;
  #connection: GrpcConnection | undefined;
  #stream = 0;
  #isOpen = false;
  /** It is in the wheel. */
  #isLookedAt = false;
  #answersProgress = true;
  #heardAt = 0;
  #askedAt = 0;
  /** Everything up to here has been heard. */
  revision = 0;

  /** `ended`: the server, or the connection, ended it. */
  constructor(
    plan: WatchPlan,
    parts: {
      readonly tally: Tally;
      readonly wheel: Wheel;
      readonly patience: WatchPatience;
      ended(): void;
    },
  ) {
    this.#plan = plan;
    this.#patience = parts.patience;
    this.#tally = parts.tally;
    this.#wheel = parts.wheel;
    this.#ended = parts.ended;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Watches from the revision behind {@link revision}. */
  begin(connection: GrpcConnection, now: number): void {
    const { key, rangeEnd } = this.#plan;
    this.#connection = connection;
    this.#heardAt = now;
    this.#askedAt = 0;
    this.#stream = connection.open(WATCH, this);
    const createRequest = {
      key,
      rangeEnd,
      startRevision: BigInt(this.revision + 1),
      progressNotify: true,
      filters: [],
      prevKv: false,
      watchId: BigInt(WATCH_ID),
      fragment: true,
    };
    const request = WatchRequest.create({ requestUnion: { $case: 'createRequest', createRequest } });
    connection.send(this.#stream, WatchRequest.encode(request).finish());
    if (!this.#isLookedAt) this.#wheel.add(this, now);
    this.#isLookedAt = true;
  }

  onMessage(bytes: Buffer): void {
    this.#take(readWatchAnswer(bytes), performance.now());
  }

  onEnd(): void {
    if (this.#connection === undefined) return;
    this.#connection = undefined;
    if (this.#isOpen) this.#tally.open--;
    this.#isOpen = false;
    this.#ended();
  }

  /** Ends it from this side. */
  stop(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    if (this.#isOpen) this.#tally.open--;
    this.#isOpen = false;
    connection?.cancel(this.#stream);
  }

  /** Asks for a sign of life if it is time. When to look again, by performance.now(); `undefined` when it does not run. */
  look(now: number): number | undefined {
    const connection = this.#connection;
    this.#isLookedAt = connection !== undefined;
    if (connection === undefined) return undefined;
    const { answerMs } = this.#patience;
    const quietMs = this.#answersProgress ? this.#patience.quietMs : this.#patience.quietForCallMs;
    if (this.#askedAt > this.#heardAt) {
      // It is not given up, so that the load goes on: the figures are worth nothing then, and say so.
      if (now - this.#askedAt < answerMs) return this.#askedAt + answerMs;
      this.#tally.late++;
      this.#heardAt = now;
      return now + quietMs;
    }
    if (now < this.#heardAt + quietMs) return this.#heardAt + quietMs;
    this.#tally.asked++;
    this.#askedAt = now;
    if (this.#answersProgress) connection.send(this.#stream, ASK);
    else connection.ask(RANGE, this.#plan.probe).then(() => this.#feel(performance.now()), noAnswer);
    return now + answerMs;
  }

  #take(answer: WatchAnswer, now: number): void {
    if (answer.ended) {
      this.#connection?.cancel(this.#stream);
      this.onEnd();
      return;
    }
    if (answer.created) {
      this.#answersProgress = answer.watchId >= WATCH_ID;
      this.#isOpen = true;
      this.#tally.open++;
    }
    if (answer.events > 0) {
      this.revision = answer.revision;
      if (this.#plan.ofLeases) this.#tally.heard += answer.events;
    }
    this.#feel(now);
  }

  #feel(now: number): void {
    if (this.#askedAt > this.#heardAt) {
      this.#tally.longestMs = Math.max(this.#tally.longestMs, now - this.#askedAt);
    }
    this.#heardAt = now;
  }
}

const noAnswer = (): void => {};
