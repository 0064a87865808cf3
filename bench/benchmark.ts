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
  /** Real agents at the most, and sizes of the network in place of a benchmark's own; none for these. */
  readonly agents: number;
  readonly hosts: readonly number[];
  /** Numbers of networks in one daemon, in place of the benchmark's own; none for these. */
  readonly networks: readonly number[];
  /** Endpoints of Docker's driver on one host. */
  readonly endpoints: number;
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
  /** Rows of one group have a table of their own, where variants are compared. */
  readonly group?: string;
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
  /** Rows that have a plot. Default: all. */
  readonly plotted?: readonly string[];
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

  add(
    what: string,
    unit: string,
    program: string,
    value: number,
    target?: Row['target'],
    group?: string,
  ): void {
    const row = this.#rows.get(what) ?? {
      what,
      unit,
      samples: {},
      ...(target !== undefined && { target }),
      ...(group !== undefined && { group }),
    };
    this.#rows.set(what, row);
    row.samples[program] ??= [];
    row.samples[program].push(value);
  }

  get rows(): Row[] {
    return [...this.#rows.values()];
  }
}
