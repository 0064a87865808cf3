import type { Screen } from '#src/cli/screen.ts';
import type { Output } from '#src/cli/terminal.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';

/** What every command gets from the process. */
export interface CommandContext {
  readonly output: Output;
  /** Where {@link output} prints results. */
  readonly screen: Screen;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  /** All of standard input. */
  readonly readInput: () => Promise<Buffer>;
  /** Asks the user, who may say yes; `undefined` without a terminal. */
  readonly confirm: ((question: string) => Promise<boolean>) | undefined;
  /** Where the user is. */
  readonly folder: string;
}

/** The words that a command takes, for the shell's completion. */
export interface CommandShape {
  readonly flags?: FlagTable;
  /** Words that may stand behind it. */
  readonly words?: readonly string[];
  /** With flags of their own; those of `flags` hold for each of them. */
  readonly subcommands?: Readonly<Record<string, Subcommand>>;
}

export interface Subcommand {
  /** The words behind it, as `NETWORK IP`. */
  readonly takes?: string;
  readonly about: string;
  readonly flags?: FlagTable;
}

export interface Command {
  readonly shape: CommandShape;
  /** `weft NAME WORDS`: the exit code. */
  run(words: readonly string[], context: CommandContext): Promise<number>;
}

/** A line of the table of commands. A start loads only the command that runs. */
export interface CommandEntry {
  /** What it does, in one line of `weft --help`. */
  readonly about: string;
  readonly load: () => Promise<Command>;
}
