import { isDeepStrictEqual } from 'node:util';
import type { Job } from '#src/backend/job.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { type HostEvents, silentEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import type { JobHandler, JobHandlers } from '#src/node/jobs/job-handler.ts';
import type { Clock } from '#src/sys/clock.ts';
import { deadlineIn } from '#src/sys/timer.ts';

export interface JobDeskComponents {
  readonly handlers: JobHandlers;
  readonly clock: Clock;
  readonly log: Logger;
  /** Default: nobody. */
  readonly events?: HostEvents;
}

/** After a failure: this long, then twice as long each time. */
const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 60_000;
/** What has run this long is started again at once. */
const STEADY_MS = 10_000;
/** How long all jobs together may take to stop when flanneld ends: systemd waits 15 s (TimeoutStopSec). */
const END_MS = 10_000;

/** The subject of what the node itself needs. */
export const OWN = 'own';

/** One job: what is wanted of it, and how far it is. */
interface Entry {
  readonly subject: string;
  readonly key: string;
  /** `undefined`: it has to go. */
  wanted: Job | undefined;
  /** As it was last started, or tried. */
  tried: Job | undefined;
  runs: boolean;
  failure: string | undefined;
  failures: number;
  /** Monotonic milliseconds: when a start is due after a failure, and when it last began to run. */
  dueAt: number;
  runsSince: number;
}

/**
 * Makes the jobs of one network so: starts what is wanted, starts again what changed, failed or ended, and stops what is
 * not wanted any more. One thing at a time, in the order in which it was asked for: a command that hangs holds up the
 * others of its network until its time is over, and nothing else.
 */
export class JobDesk {
  readonly #components: JobDeskComponents;
  /** By subject, then by key. */
  readonly #subjects = new Map<string, Map<string, Entry>>();
  /** What is not as wanted: the node's own, and the peers'. */
  readonly #toDo = { own: new Set<Entry>(), peers: new Set<Entry>() };
  readonly #failed = new Set<Entry>();
  #wake = Promise.withResolvers<void>();
  /** Callers of {@link attempted}. */
  #waiters: (() => void)[] = [];

  constructor(components: JobDeskComponents) {
    this.#components = components;
  }

  /** What is wanted for a subject from now on: {@link OWN}, or a peer by its lease's name. */
  set(subject: string, jobs: readonly Job[]): void {
    const entries = this.#subjects.get(subject) ?? new Map<string, Entry>();
    if (entries.size === 0 && jobs.length === 0) return;
    this.#subjects.set(subject, entries);
    const keys = new Set(jobs.map(({ key }) => key));
    for (const entry of [...entries.values()].reverse())
      if (!keys.has(entry.key)) this.#want(entry, undefined);
    for (const job of jobs) {
      const entry = entries.get(job.key) ?? newEntry(subject, job.key);
      entries.set(job.key, entry);
      this.#want(entry, job);
    }
  }

  #want(entry: Entry, job: Job | undefined): void {
    if (isDeepStrictEqual(entry.wanted, job)) return;
    entry.wanted = job;
    // With other values it may succeed.
    entry.dueAt = 0;
    entry.failures = 0;
    this.#queue(entry);
  }

  /** At the end of the queue. */
  #queue(entry: Entry): void {
    const queue = this.#queueOf(entry);
    queue.delete(entry);
    queue.add(entry);
    this.#wake.resolve();
  }

  #queueOf({ subject }: Entry): Set<Entry> {
    return subject === OWN ? this.#toDo.own : this.#toDo.peers;
  }

  /** Why jobs are not done, by their subject. */
  *failing(): Iterable<readonly [subject: string, reason: string]> {
    for (const { subject, failure } of this.#failed) if (failure !== undefined) yield [subject, failure];
  }

  /** The wanted jobs as command lines. */
  async plan(): Promise<readonly string[]> {
    const lines: string[] = [];
    for (const entries of this.#subjects.values()) {
      for (const { wanted } of entries.values())
        if (wanted !== undefined) lines.push((await this.#handlerOf(wanted)).format(wanted));
    }
    return lines;
  }

  /** Resolves when each job of the node itself runs. Rejects with the first that could not be started. */
  async started(signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      for (const { subject, failure } of this.#failed)
        if (subject === OWN && failure !== undefined) throw new WeftError('backend-job', failure);
      if (this.#toDo.own.size === 0) return;
      const step = Promise.withResolvers<void>();
      this.#waiters.push(step.resolve);
      signal.addEventListener('abort', () => step.resolve(), { once: true });
      await step.promise;
    }
  }

  /** Works until the signal aborts. Then takes back what is not to outlive flanneld, and resolves. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const entry = this.#next();
      if (entry === undefined) await this.#rest(signal);
      else {
        await this.#work(entry, signal);
        for (const resolve of this.#waiters.splice(0)) resolve();
      }
    }
    await this.#end();
  }

  /** The first that can be worked on now. The node's own come before the peers'. */
  #next(): Entry | undefined {
    const now = this.#components.clock.monotonic();
    for (const queue of [this.#toDo.own, this.#toDo.peers])
      for (const entry of queue) if (entry.dueAt <= now && this.#hasItsNeeds(entry)) return entry;
    return undefined;
  }

  #hasItsNeeds({ subject, wanted }: Entry): boolean {
    if (wanted?.needs === undefined) return true;
    const needed =
      this.#subjects.get(subject)?.get(wanted.needs) ?? this.#subjects.get(OWN)?.get(wanted.needs);
    return needed?.runs === true;
  }

  async #rest(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const woken = new AbortController();
    const now = clock.monotonic();
    let wait = LONGEST_PAUSE_MS;
    for (const queue of [this.#toDo.own, this.#toDo.peers])
      for (const { dueAt } of queue) if (dueAt > now) wait = Math.min(wait, dueAt - now);
    void this.#wake.promise.then(() => woken.abort());
    await clock.sleep(wait, AbortSignal.any([signal, woken.signal])).catch(() => {});
    this.#wake = Promise.withResolvers<void>();
  }

  async #work(entry: Entry, signal: AbortSignal): Promise<void> {
    const { wanted } = entry;
    try {
      if (wanted === undefined) await this.#stop(entry, signal);
      else await this.#start(entry, wanted, signal);
    } catch (error) {
      if (!signal.aborted) this.#fail(entry, messageOf(error));
    }
  }

  async #start(entry: Entry, job: Job, signal: AbortSignal): Promise<void> {
    const { tried: before } = entry;
    const handler = await this.#handlerOf(job);
    entry.tried = job;
    entry.runs = false;
    let lost: string | undefined;
    await handler.start(job, {
      ...(before !== undefined && { before }),
      lost: (reason) => {
        lost = reason;
        if (entry.runs && entry.tried === job) this.#lose(entry, reason);
      },
      signal,
    });
    this.#succeed(entry);
    if (lost !== undefined) this.#lose(entry, lost);
  }

  async #stop(entry: Entry, signal: AbortSignal): Promise<void> {
    const { tried } = entry;
    entry.runs = false;
    if (tried !== undefined) await (await this.#handlerOf(tried)).stop(tried, signal);
    entry.tried = undefined;
    // It may be wanted again by now.
    if (entry.wanted === undefined) this.#forget(entry);
  }

  #forget(entry: Entry): void {
    const entries = this.#subjects.get(entry.subject);
    entries?.delete(entry.key);
    if (entries?.size === 0) this.#subjects.delete(entry.subject);
    this.#queueOf(entry).delete(entry);
    this.#failed.delete(entry);
  }

  #succeed(entry: Entry): void {
    const { log, clock, events = silentEvents } = this.#components;
    if (entry.failure !== undefined) {
      log.info(`${entry.key}: it is done now`);
      events.note({ type: 'failure', severity: 'info', subject: entry.key, text: 'It is done now' });
    }
    entry.runs = true;
    entry.failure = undefined;
    entry.runsSince = clock.monotonic();
    this.#failed.delete(entry);
    if (isDeepStrictEqual(entry.wanted, entry.tried)) this.#queueOf(entry).delete(entry);
    this.#repeatAfter(entry);
  }

  /** What needs a job that was started has to be started after it. */
  #repeatAfter({ subject, key }: Entry): void {
    const dependents = subject === OWN ? this.#subjects.values() : [this.#subjects.get(subject)];
    for (const entries of dependents) {
      for (const entry of entries?.values() ?? []) {
        if (entry.wanted?.needs !== key || !entry.runs) continue;
        entry.runs = false;
        this.#queue(entry);
      }
    }
  }

  #lose(entry: Entry, reason: string): void {
    const { clock } = this.#components;
    if (entry.wanted === undefined) return;
    const isSteady = clock.monotonic() - entry.runsSince >= STEADY_MS;
    if (isSteady) entry.failures = 0;
    this.#fail(entry, reason);
    if (entry.failures === 1) entry.dueAt = 0;
  }

  #fail(entry: Entry, reason: string): void {
    const { clock, log, events = silentEvents } = this.#components;
    const text = `${entry.key}: ${reason}`;
    if (entry.failure !== text) {
      log.error(text);
      events.note({ type: 'failure', severity: 'error', subject: entry.key, text: reason });
    }
    entry.failure = text;
    entry.runs = false;
    const pause = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** entry.failures);
    entry.failures++;
    entry.dueAt = clock.monotonic() + pause;
    // What can't be taken back is not tried for ever.
    if (entry.wanted === undefined && entry.failures > MOST_STOPS) {
      this.#forget(entry);
      return;
    }
    this.#failed.add(entry);
    this.#queue(entry);
  }

  /** Backwards: what needs another job is stopped before it. */
  async #end(): Promise<void> {
    const signal = deadlineIn(END_MS);
    const entries = [...this.#subjects.values()].flatMap((each) => [...each.values()]);
    for (const { key, tried } of entries.reverse()) {
      if (tried?.atEnd !== 'stop') continue;
      try {
        await (await this.#handlerOf(tried)).stop(tried, signal);
      } catch (error) {
        this.#components.log.error(`${key}: ${messageOf(error)}`);
      }
    }
  }

  /** One handler does the jobs of one kind, and is asked for by the job's own. */
  #handlerOf(job: Job): Promise<JobHandler<Job>> {
    return this.#components.handlers[job.kind]() as Promise<JobHandler<Job>>;
  }
}

/** So often is tried to take something back. */
const MOST_STOPS = 3;

const newEntry = (subject: string, key: string): Entry => ({
  subject,
  key,
  wanted: undefined,
  tried: undefined,
  runs: false,
  failure: undefined,
  failures: 0,
  dueAt: 0,
  runsSince: 0,
});
