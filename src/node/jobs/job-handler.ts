import type { Job } from '#src/backend/job.ts';

/** How a job is started. */
export interface JobStart<J extends Job> {
  /** What it was when it was last started; absent for the first time, and after a stop. */
  readonly before?: J;
  /** To be called once if what was started ends by itself. */
  readonly lost: (reason: string) => void;
  readonly signal: AbortSignal;
}

/** Does one kind of job. The desk calls these one after the other, never two at a time. */
export interface JobHandler<J extends Job> {
  /** Resolves when the job is done, or runs. Rejects with what could not be done; it is called again later. */
  start(job: J, how: JobStart<J>): Promise<void>;
  /** Takes it back. Also called for a job whose start failed, which may be half done. */
  stop(job: J, signal: AbortSignal): Promise<void>;
  /** The job as one command line, for `weft plan`. */
  format(job: J): string;
}

/** A handler for each kind there is. They are loaded when a job of their kind is first wanted. */
export type JobHandlers = {
  readonly [K in Job['kind']]: () => Promise<JobHandler<Extract<Job, { readonly kind: K }>>>;
};
