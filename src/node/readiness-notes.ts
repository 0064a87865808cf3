import type { HostEvents } from '#src/lib/host-events.ts';

/** A figure in a reason may change from one look to the next; the reason is the same. */
const FIGURES = /\d+(\.\d+)?/g;

/** Notes that something became ready, or is not ready, and why: once for each reason. */
export class ReadinessNotes {
  readonly #events: HostEvents;
  readonly #subject: string;
  /** `undefined` before the first look; empty while it is ready. */
  #last: string | undefined;

  constructor(events: HostEvents, subject: string) {
    this.#events = events;
    this.#subject = subject;
  }

  /** `troubles`: why it is not ready now, one clause each; none when it is. */
  look(troubles: readonly string[]): void {
    const reason = troubles.join('; ');
    const now = reason.replaceAll(FIGURES, '#');
    if (now === this.#last) return;
    this.#last = now;
    const subject = this.#subject;
    if (reason === '') this.#events.note({ type: 'ready', severity: 'info', subject, text: 'Ready' });
    else
      this.#events.note({
        type: 'not-ready',
        severity: 'error',
        subject,
        text: `Not ready: ${reason.slice(0, LONGEST)}`,
      });
  }
}

const LONGEST = 1_000;
