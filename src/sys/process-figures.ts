import { readdirSync, readFileSync } from 'node:fs';

/** What this process uses, as proc(5) and getrusage(2) have it. */
export interface OwnProcessFigures {
  /** Of Node.js: `v26.3.0`. */
  readonly node: string;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** Absent where /proc can't be read. */
  readonly openFiles?: number;
  /** Absent where there is no limit, too. */
  readonly mostFiles?: number;
  /** Seconds since the epoch. */
  readonly startedAt: number;
}

/** Fixed when first asked for: a clock that is set must not move the start. */
let startedAt: number | undefined;

export function readOwnProcess(): OwnProcessFigures {
  const { user, system } = process.cpuUsage();
  startedAt ??= Date.now() / 1000 - process.uptime();
  const openFiles = attempt(() => readdirSync('/proc/self/fd').length - 1);
  const limits = attempt(() => readFileSync('/proc/self/limits', 'utf8'));
  const most = Number(/^Max open files\s+(\d+)/m.exec(limits ?? '')?.[1] ?? Number.NaN);
  return {
    node: process.version,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    ...(openFiles !== undefined && { openFiles }),
    ...(Number.isFinite(most) && { mostFiles: most }),
    startedAt,
  };
}

function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
