import type { Random } from './random.ts';

/** Something that reads what others write. */
export interface Target {
  readonly name: string;
  readonly description: string;
  /** Sets up what the rounds share, and returns how to play one, and how to take all away again. */
  start(): Promise<Rounds> | Rounds;
}

export interface Rounds {
  /** Throws when the input did harm. */
  play(random: Random): Promise<void> | void;
  stop(): Promise<void> | void;
}
