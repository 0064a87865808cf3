import type { HostEvents, NotedEvent } from '#src/lib/host-events.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';

/** So many leases of one message are named, each by an event of its own. */
const NAMED = 5;

/** What one message did to the leases of one kind of change. */
class Pile {
  count = 0;
  readonly first: LeaseChange[] = [];

  add(change: LeaseChange): void {
    this.count++;
    if (this.first.length < NAMED) this.first.push(change);
  }
}

/** Notes leases that came, went or are not used: one event each, or one that says how many where a message has many. */
export class LeaseNews {
  readonly #events: HostEvents;
  #piles = emptyPiles();

  constructor(events: HostEvents) {
    this.#events = events;
  }

  /** Some of what a message changed. */
  take(changes: readonly LeaseChange[]): void {
    for (const change of changes) this.#piles[change.kind].add(change);
  }

  /** The message has been handled. */
  note(): void {
    const piles = this.#piles;
    if (KINDS.every((kind) => piles[kind].count === 0)) return;
    this.#piles = emptyPiles();
    for (const kind of KINDS) {
      const { count, first } = piles[kind];
      const severity = kind === 'quarantined' ? 'warning' : 'info';
      if (count <= NAMED) for (const change of first) this.#note(severity, change.name, textOf(change));
      else this.#note(severity, 'leases', `${count} ${MANY[kind]}`);
    }
  }

  #note(severity: NotedEvent['severity'], subject: string, text: string): void {
    this.#events.note({ type: 'lease', severity, subject: subject.slice(0, LONGEST_NAME), text });
  }
}

const KINDS = ['accepted', 'removed', 'quarantined'] as const satisfies readonly LeaseChange['kind'][];
const MANY = {
  accepted: 'leases came or changed, and are in use',
  removed: 'leases are gone',
  quarantined: 'leases are not used; weft leases says why',
} as const;
/** Others wrote it. */
const LONGEST_NAME = 100;

const emptyPiles = () => ({ accepted: new Pile(), removed: new Pile(), quarantined: new Pile() });

function textOf(change: LeaseChange): string {
  switch (change.kind) {
    case 'accepted':
      return 'It came or changed, and is in use';
    case 'removed':
      return 'It is gone';
    case 'quarantined':
      return `It is not used: ${change.reason}`;
  }
}
