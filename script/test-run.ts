import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type EventData, run } from 'node:test';
import { inspect } from 'node:util';
import { COST_FILE, COST_PARENT, type Cost, readCosts } from './test-cost.ts';
import { type QueueOptions, runQueue } from './test-queue.ts';

/** To start Node and to load the sources takes a process longer than the tests of one unit test file. */
const FILES_OF_A_GROUP = 16;

export interface TestCounts {
  passed: number;
  failed: number;
  skipped: number;
}

export interface TestRunOptions {
  /** How many processes run at once. */
  readonly queue: QueueOptions;
  /** Of one process. */
  readonly timeout: number;
  /** For files that join the files of a group, and for what processes report; the caller removes it. */
  readonly scratch: string;
  readonly print: (line: string) => void;
}

/**
 * Runs test files: small ones in groups that share a process, the others in a process each. The report is by file. A group
 * whose process ended early is a failure, whatever follows, and its files run again in a process each, to see which it was.
 */
export class TestRun {
  readonly counts: TestCounts = { passed: 0, failed: 0, skipped: 0 };
  /** `TEST: REASON` of each. */
  readonly skips = new Set<string>();
  /** `TEST (FILE:LINE): MESSAGE` or `FILE: MESSAGE` of each: the end of a long report names them again. */
  readonly failures: string[] = [];
  readonly #options: TestRunOptions;
  /** By the file that joins them. */
  readonly #groups = new Map<string, readonly string[]>();
  readonly #ofGroups = new Set<string>();
  readonly #ofFiles = new Map<string, TestCounts>();
  readonly #judged = new Set<string>();
  /** Files that join the files of a group, whose process failed by itself. */
  readonly #ended = new Set<string>();
  readonly #costs: string;

  constructor(options: TestRunOptions) {
    this.#options = options;
    this.#costs = join(options.scratch, 'costs');
    writeFileSync(this.#costs, '');
  }

  /** The processor time of each process that ended by itself, with what it started; the most expensive first. */
  get costs(): Cost[] {
    return readCosts(this.#costs).map(({ path, seconds }) => {
      const [first = '', ...more] = this.#groups.get(path) ?? [path];
      return {
        path: more.length === 0 ? relative(first) : `${relative(first)} and ${more.length} more`,
        seconds,
      };
    });
  }

  /** Absolute paths; started in the order given, the small ones last. */
  async run(files: readonly string[], small: readonly string[]): Promise<void> {
    const ended = await this.#pass([...files, ...this.#join(small)]);
    const again = ended.flatMap((entry) => this.#groups.get(entry) ?? []);
    for (const file of again) this.#withdraw(file);
    if (again.length > 0) await this.#pass(again);
  }

  #join(small: readonly string[]): string[] {
    const sorted = [...small].sort();
    const entries: string[] = [];
    for (let at = 0; at < sorted.length; at += FILES_OF_A_GROUP) {
      const files = sorted.slice(at, at + FILES_OF_A_GROUP);
      const entry = join(this.#options.scratch, `group-${at / FILES_OF_A_GROUP + 1}.test.mjs`);
      // A suite each: its hooks are those of one file only.
      const source = `import { suite } from 'node:test';
for (const file of ${JSON.stringify(files)}) suite(file, () => import(file).then(() => {}));
`;
      writeFileSync(entry, source);
      this.#groups.set(entry, files);
      for (const file of files) this.#ofGroups.add(file);
      entries.push(entry);
    }
    return entries;
  }

  /** The entries of groups whose process ended early, or failed after its tests. */
  async #pass(entries: readonly string[]): Promise<string[]> {
    const { queue, print } = this.#options;
    process.env[COST_FILE] = this.#costs;
    process.env[COST_PARENT] = String(process.pid);
    await runQueue(entries, queue, (entry) => this.#runFile(entry));
    const ended = entries.filter((entry) => {
      const files = this.#groups.get(entry) ?? [];
      return this.#ended.has(entry) || files.some((file) => !this.#judged.has(file));
    });
    this.counts.failed += ended.length;
    for (const entry of ended) {
      const group = this.#groups.get(entry) ?? [];
      print(`FAILED  the process of a group; its files run again alone:\n  ${group.join('\n  ')}`);
      this.failures.push(`the process of a group: ${group.map(relative).join(', ')}`);
    }
    return ended;
  }

  async #runFile(path: string): Promise<void> {
    const execArgv = ['--import', new URL('test-cost.ts', import.meta.url).href];
    const tests = run({ files: [path], timeout: this.#options.timeout, execArgv });
    tests.on('test:pass', (event) => this.#passed(event));
    tests.on('test:fail', (event) => this.#failed(event));
    tests.on('test:summary', ({ file, duration_ms }) => {
      if (file !== undefined && !this.#groups.has(file)) this.#judge(file, duration_ms);
    });
    for await (const _ of tests);
  }

  #passed({ name, file, skip, todo, nesting, details }: EventData.TestPass): void {
    if (skip !== undefined) this.skips.add(`${name}: ${skip === true ? 'no reason given' : skip}`);
    // Node calls a test with subtests a suite, too.
    if (this.#isFile(name, nesting, details)) this.#judge(name, details.duration_ms);
    else this.#count(file, skip !== undefined || todo !== undefined ? 'skipped' : 'passed');
  }

  #failed({ name, file, line, nesting, details }: EventData.TestFail): void {
    const { error } = details;
    // A parent whose subtest failed says nothing new.
    const isNew = !('failureType' in error && error.failureType === 'subtestsFailed');
    const isFile = this.#isFile(name, nesting, details);
    if (isNew) {
      if (file !== undefined && details.type !== 'suite' && this.#groups.has(file)) this.#ended.add(file);
      const shown = inspect(error.cause ?? error);
      this.#options.print(`FAILED  ${name}\n  ${file}:${line}\n${shown.replaceAll(/^/gm, '  ')}`);
      const where = isFile ? relative(name) : `${name} (${relative(file)}:${line})`;
      this.failures.push(`${where}: ${shown.split('\n', 1)[0]}`);
    }
    if (isNew || !isFile) this.#count(isFile ? name : file, 'failed');
    if (isFile) this.#judge(name, details.duration_ms);
  }

  /** Whether it is the suite that stands for a file of a group. */
  #isFile(name: string, nesting: number, { type }: { readonly type?: string }): boolean {
    return type === 'suite' && nesting === 0 && this.#ofGroups.has(name);
  }

  #count(file: string | undefined, outcome: keyof TestCounts): void {
    // It is judged by the verdicts on its files.
    if (file === undefined || this.#groups.has(file)) return;
    const counts = this.#ofFiles.get(file) ?? { passed: 0, failed: 0, skipped: 0 };
    counts[outcome]++;
    this.#ofFiles.set(file, counts);
    this.counts[outcome]++;
  }

  #withdraw(file: string): void {
    const counts = this.#ofFiles.get(file);
    this.#ofFiles.delete(file);
    if (counts === undefined) return;
    this.counts.passed -= counts.passed;
    this.counts.failed -= counts.failed;
    this.counts.skipped -= counts.skipped;
  }

  #judge(file: string, ms: number): void {
    this.#judged.add(file);
    const { passed, failed, skipped } = this.#ofFiles.get(file) ?? { passed: 0, failed: 0, skipped: 0 };
    const verdict = failed > 0 ? 'FAILED' : 'ok    ';
    this.#options.print(
      `${verdict}  ${relative(file)}  ${passed} passed, ${skipped} skipped, ${(ms / 1000).toFixed(1)} s`,
    );
  }
}

const relative = (file = ''): string => file.replace(`${process.cwd()}/`, '');
