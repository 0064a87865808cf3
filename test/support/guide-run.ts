import assert from 'node:assert/strict';
import type { CommandOptions, CommandResult } from '#src/sys/command.ts';
import { until } from '#src/sys/until.ts';
import type { Guide, GuideBlock } from './guide.ts';
import { type Examples, matchOutput, withExamples } from './guide-output.ts';

/** A host of the lab or a whole machine: something with a shell. */
export interface GuideMachine {
  readonly name: string;
  run(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
}

/**
 * The machines of a "**On …:**"; none where the place belongs to another variant of the guide, and `undefined` where the test
 * knows no such place.
 */
export type GuidePlaces = (place: string) => readonly GuideMachine[] | undefined;

/** A test, of which each block is a part. */
export interface GuideTest {
  test(name: string, part: () => Promise<void>): Promise<unknown>;
}

/**
 * As a login shell of root's, in its home, with both streams on one terminal; nothing is typed beyond a line that failed.
 * A script starts in a shell of its own, so that no block needs what an earlier one left in the shell.
 */
const SHELL = 'cd /root && exec 2>&1 && set -eo pipefail && eval "$1"';
const SCRIPT_MS = 180_000;

/** Executes guides, block after block, as they are written. */
export class GuideRun {
  readonly #places: GuidePlaces;
  readonly #executed = new Set<string>();
  #failed = false;
  /** Seen in a block of one machine: known to all. Else each machine has its own. */
  readonly #examples = new Map<GuideMachine | undefined, Examples>();

  constructor(places: GuidePlaces) {
    this.#places = places;
  }

  /** `install.md:42` of each block that ran. */
  get executed(): ReadonlySet<string> {
    return this.#executed;
  }

  /** Whether a block was not as its page says. */
  get failed(): boolean {
    return this.#failed;
  }

  /** All blocks of a guide, or those below some of its headings. After one that fails nothing more is typed. */
  async follow(t: GuideTest, guide: Guide, headings?: readonly string[]): Promise<void> {
    for (const heading of headings ?? [])
      assert.ok(
        guide.blocks.some((it) => it.heading === heading),
        `${guide.name} has no scripts below "${heading}"`,
      );
    for (const block of guide.blocks) {
      if (headings !== undefined && !headings.includes(block.heading)) continue;
      if (block.notRun !== undefined) continue;
      const machines = this.#places(block.place);
      assert.ok(machines, `${block.at}: the test has no place "${block.place}"`);
      if (machines.length === 0) continue;
      if (this.#failed) return;
      const names = machines.map(({ name }) => name).join(', ');
      this.#failed = true;
      await t.test(`${block.at} on ${names}: ${firstLine(block.script)}`, async () => {
        if (block.inTurn) for (const machine of machines) await this.#execute(block, [machine]);
        else await this.#execute(block, machines);
        this.#failed = false;
        this.#executed.add(block.at);
      });
    }
  }

  async #execute(block: GuideBlock, machines: readonly GuideMachine[]): Promise<void> {
    const own = await Promise.allSettled(machines.map((machine) => this.#executeOn(block, machine)));
    for (const [n, result] of own.entries()) {
      if (result.status === 'rejected') throw result.reason;
      const place = machines.length === 1 && !block.inTurn ? undefined : machines[n];
      this.#examples.set(place, new Map([...(this.#examples.get(place) ?? []), ...result.value]));
    }
  }

  async #executeOn(block: GuideBlock, machine: GuideMachine): Promise<Examples> {
    const known = new Map([...(this.#examples.get(undefined) ?? []), ...(this.#examples.get(machine) ?? [])]);
    const argv = ['bash', '-c', SHELL, 'bash', withExamples(block.script, known)];
    let last: CommandResult = { code: -1, stdout: '', stderr: '' };
    const attempt = async (): Promise<Examples | undefined> => {
      last = await machine.run(argv, { timeoutMs: SCRIPT_MS });
      if (last.code !== block.exitCode) return undefined;
      return block.expected === undefined ? new Map() : matchOutput(block.expected, last.stdout, known);
    };
    try {
      const { withinMs } = block;
      const waiting = { what: 'expected output', timeoutMs: withinMs, intervalMs: 500 };
      const found = withinMs > 0 ? await until(attempt, waiting) : await attempt();
      if (found !== undefined) return found;
    } catch (error) {
      if (last.code === -1) throw error;
    }
    const wanted = block.expected === undefined ? '' : `\nexpected:\n${block.expected.text}`;
    throw new Error(
      `${block.at} on ${machine.name}: exit code ${last.code}, not as the page says\n$ ${argv.at(-1)}\n` +
        `printed:\n${last.stdout}${last.stderr}${wanted}`,
    );
  }
}

/** Blocks that no run executed and that do not say why. */
export function notExecuted(guides: readonly Guide[], runs: readonly GuideRun[]): string[] {
  const executed = new Set(runs.flatMap((run) => [...run.executed]));
  return guides
    .flatMap(({ blocks }) => blocks)
    .filter((block) => block.notRun === undefined && !executed.has(block.at))
    .map((block) => `${block.at}: ${firstLine(block.script)}`);
}

/** Why blocks are not executed, with how many of them. */
export function reasonsNotToRun(guides: readonly Guide[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { notRun } of guides.flatMap(({ blocks }) => blocks))
    if (notRun !== undefined) counts[notRun] = (counts[notRun] ?? 0) + 1;
  return counts;
}

const firstLine = (script: string): string => script.split('\n')[0] ?? '';
