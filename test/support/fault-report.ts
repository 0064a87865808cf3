import { appendFileSync, readFileSync } from 'node:fs';

/** One row of the table that the fault suite ends with. */
export interface FaultRow {
  /** `P7 route deleted`: the fault's number in the list of users' pains first, where it has one. */
  readonly fault: string;
  /** Milliseconds from the fault to the state as wanted, one for each time; none where nothing is to be repaired. */
  readonly repairedMs: readonly number[];
  /** Packets lost, of 200 a second; `undefined` where no traffic ran. */
  readonly lost: number | undefined;
  /** Said instead of `ok`. */
  readonly note?: string;
}

/** Where rows are collected: a file that `script/run-tests.ts` makes and prints. Without it rows are only asserted on. */
export const REPORT_VARIABLE = 'WEFT_FAULT_REPORT';

/** A drift should be repaired within this many milliseconds, by the median. Shown, never asserted: machines differ. */
const TARGET_MS = 100;

export function reportFault(row: FaultRow): void {
  const path = process.env[REPORT_VARIABLE];
  if (path !== undefined) appendFileSync(path, `${JSON.stringify(row)}\n`);
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  const [low, high] = [sorted[sorted.length % 2 === 0 ? middle - 1 : middle], sorted[middle]];
  return ((low ?? Number.NaN) + (high ?? Number.NaN)) / 2;
}

/** The table, by fault; empty when no row was collected. */
export function faultTable(path: string): string {
  const rows = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as FaultRow)
    .sort((a, b) => a.fault.localeCompare(b.fault, 'en', { numeric: true }));
  if (rows.length === 0) return '';
  const cells = rows.map(({ fault, repairedMs, lost, note }) => {
    const ms = median(repairedMs);
    const verdict = note ?? (ms > TARGET_MS ? `over ${TARGET_MS} ms` : 'ok');
    const repaired = repairedMs.length === 0 ? '-' : `${ms.toFixed(1)} (of ${repairedMs.length})`;
    return [fault, repaired, lost === undefined ? '-' : String(lost), verdict];
  });
  const table = [['fault', 'repaired in (ms, median)', 'packets lost', 'verdict'], ...cells];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => (row[column] ?? '').length)));
  return `${table
    .map((row) =>
      row
        .map((cell, n) => cell.padEnd(widths[n] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')}\n`;
}
