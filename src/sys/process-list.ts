import { readdirSync, readFileSync, statSync } from 'node:fs';

/** A program that runs. */
export interface RunningProgram {
  readonly pid: number;
  /** The last part of its first word: `dockerd`. */
  readonly name: string;
  /** Its command line, word for word. */
  readonly argv: readonly string[];
}

/** What runs in a network namespace. */
export interface ProcessList {
  /** The programs in this process's own network namespace, itself left out. Kernel threads have no command line. */
  here(): RunningProgram[];
}

export const systemProcessList: ProcessList = {
  here() {
    const own = namespaceOf('self');
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((pid) => (namespaceOf(pid) === own ? programOf(pid) : []));
  },
};

/** A network namespace is known by its inode (namespaces(7)); `undefined` for a process that is gone or not to be asked. */
function namespaceOf(pid: string): string | undefined {
  try {
    const { dev, ino } = statSync(`/proc/${pid}/ns/net`);
    return `${dev}:${ino}`;
  } catch {
    return undefined;
  }
}

function programOf(pid: string): RunningProgram[] {
  try {
    const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1);
    const [first = ''] = argv;
    const name = first.slice(first.lastIndexOf('/') + 1);
    return name === '' ? [] : [{ pid: Number(pid), name, argv }];
  } catch {
    return [];
  }
}
