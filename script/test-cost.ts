import { appendFileSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/** Where a test file's process writes what it took, and whose child it is then. */
export const COST_FILE = 'WEFT_TEST_COSTS';
export const COST_PARENT = 'WEFT_TEST_COSTS_OF';

/** Clock ticks of proc(5): `getconf CLK_TCK`, the same on every architecture that Node runs on. */
const TICKS_PER_SECOND = 100;

/** What a run loads into the process of each test file. Processes that the file forks load it as well, and say nothing. */
const file = process.env[COST_FILE];
if (file !== undefined && isMainThread && process.env[COST_PARENT] === String(process.ppid)) {
  process.on('exit', () => appendFileSync(file, `${processorSeconds()} ${process.argv[1]}\n`));
}

/** Of this process, and of all that it started and that has ended: utime, stime, cutime and cstime of proc(5). */
function processorSeconds(): number {
  const text = readFileSync('/proc/self/stat', 'utf8');
  // The program's name stands in parentheses and may hold blanks; what follows the last one is field 3.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) / TICKS_PER_SECOND;
}

export interface Cost {
  readonly path: string;
  readonly seconds: number;
}

/** What was written, the most expensive first. */
export function readCosts(path: string): Cost[] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => ({ seconds: Number.parseFloat(line), path: line.slice(line.indexOf(' ') + 1) }))
    .sort((one, other) => other.seconds - one.seconds);
}
