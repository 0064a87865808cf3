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
  /**
   * The programs in this process's own network namespace, itself left out. Kernel threads have no command line. A process
   * with the words of its parent is the parent's: it is about to become another program, execve(2), or works for it.
   */
  here(): RunningProgram[];
}

export const systemProcessList: ProcessList = {
  here() {
    const own = namespaceOf('self');
    const found = readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
      .flatMap((pid) => (namespaceOf(pid) === own ? programOf(pid) : []));
    const words = new Map(found.map(({ pid, argv }) => [pid, argv.join('\0')]));
    return found.filter(({ pid }) => {
      const parent = parentOf(pid);
      return parent === undefined || words.get(parent) !== words.get(pid);
    });
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

function parentOf(pid: number): number | undefined {
  try {
    const line = /^PPid:\s*(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
    return line?.[1] === undefined ? undefined : Number(line[1]);
  } catch {
    return undefined;
  }
}
