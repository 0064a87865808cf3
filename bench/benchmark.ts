import type { Api } from './lease-writer.ts';
import type { Program } from './program.ts';

/** What a benchmark works with. */
export interface Bench {
  /** Ours first; the peers are those that the command line names. */
  readonly programs: readonly Program[];
  /** A C program that sends netlink messages as fast as the kernel takes them. */
  readonly nlprog: string | undefined;
  /** More repetitions. */
  readonly long: boolean;
  /** How long hosts come and go. */
  readonly churnMinutes: number;
  readonly signal: AbortSignal;
  /** Reports progress, one line at a time. */
  readonly say: (line: string) => void;
}

/** One quantity, of each program in the same run. */
export interface Row {
  readonly what: string;
  readonly unit: string;
  /** By program, or by variant. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
  /** The target: a multiple of the peer's value, or a number of units. */
  readonly target?: { readonly ratio: number } | { readonly atMost: number };
}

export interface Benchmark {
  readonly name: string;
  readonly title: string;
  /** How it is measured, for the page. */
  readonly method: string;
  /**
   * The variants to compare with. Each variant has a line of its own, with its ratio to each of
   * these that was measured.
   */
  readonly beside?: readonly string[];
  /** A ratio is the median of those of samples of the same round: what else the machine did cancels out. */
  readonly ratiosByRound?: boolean;
  run(bench: Bench): Promise<Row[]>;
}

export const speaking = ({ programs }: Bench, api: Api): readonly Program[] =>
  programs.filter(({ apis }) => apis.includes(api));

/** Runs programs in turn, forwards and backwards, so that what else the machine does meets all of them alike. */
export async function alternate<P>(
  programs: readonly P[],
  rounds: number,
  run: (program: P) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const program of round % 2 === 0 ? programs : programs.toReversed()) await run(program);
  }
}

/** Collects samples into rows. */
export class Sheet {
  readonly #rows = new Map<string, Row & { readonly samples: Record<string, number[]> }>();

  add(what: string, unit: string, program: string, value: number, target?: Row['target']): void {
    const row = this.#rows.get(what) ?? { what, unit, samples: {}, ...(target !== undefined && { target }) };
    this.#rows.set(what, row);
    row.samples[program] ??= [];
    row.samples[program].push(value);
  }

  get rows(): Row[] {
    return [...this.#rows.values()];
  }
}
