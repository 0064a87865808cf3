export type HostEventType =
  | 'start'
  | 'ready'
  | 'not-ready'
  | 'registry'
  | 'lease'
  | 'peer'
  | 'repair'
  | 'failure'
  | 'probe'
  | 'config'
  | 'rotation'
  | 'underlay';

/** Something that happened on this host, for `weft events`. */
export interface NotedEvent {
  readonly type: HostEventType;
  readonly severity: 'info' | 'warning' | 'error';
  /** A lease, a device, a slot of the kernel, the registry, a peer. */
  readonly subject: string;
  /** One sentence, without what changes from one time to the next: the same text again is a repetition. */
  readonly text: string;
}

/**
 * Takes what a user may want to know later. A call costs a few map operations, whatever follows the events, and never
 * throws. Thousands of the same cause are one event that says how many.
 */
export interface HostEvents {
  note(event: NotedEvent): void;
}

/** Keeps nothing: for tests, and for commands that do a daemon's work once. */
export const silentEvents: HostEvents = { note() {} };
