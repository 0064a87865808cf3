import { basename } from 'node:path';
import type { CleanMachine } from './clean-machine.ts';

/** How a user installs and removes a package that is a file. No network is used: what it depends on is there. */
export interface PackageManager {
  /** Over an older or newer version too, and over itself with `again`. What was printed, both streams. */
  install(machine: CleanMachine, file: string, how?: 'again' | 'older'): Promise<string>;
  /** Removes weft and keeps its settings. What was printed. */
  remove(machine: CleanMachine): Promise<string>;
  /** The installed version of weft; `undefined` when it is not installed. */
  version(machine: CleanMachine): Promise<string | undefined>;
}

const APT_WORDS = { again: ['--reinstall'], older: ['--allow-downgrades'] } as const;

/** Debian's. */
export const APT: PackageManager = {
  install: (machine, file, how) =>
    fromFile(machine, file, (place) => [
      ...['apt-get', 'install', '--yes', ...(how === undefined ? [] : APT_WORDS[how])],
      place,
    ]),
  remove: (machine) => said(machine, ['apt-get', 'remove', '--yes', 'weft']),
  version: async (machine) => {
    const { stdout } = await machine.run(['dpkg-query', '--status', 'weft']);
    return /^Status: .* installed$[\s\S]*^Version: (.+)$/m.exec(stdout)?.[1];
  },
};

const DNF_WORDS = { again: 'reinstall', older: 'downgrade' } as const;

/** RHEL's. */
export const DNF: PackageManager = {
  install: (machine, file, how) =>
    fromFile(machine, file, (place) => ['dnf', '-y', how === undefined ? 'install' : DNF_WORDS[how], place]),
  remove: (machine) => said(machine, ['dnf', '-y', 'remove', 'weft']),
  version: async (machine) => {
    const { code, stdout } = await machine.run(['rpm', '--query', '--queryformat=%{VERSION}', 'weft']);
    return code === 0 ? stdout : undefined;
  },
};

async function fromFile(
  machine: CleanMachine,
  file: string,
  command: (place: string) => readonly string[],
): Promise<string> {
  const place = `/tmp/${basename(file)}`;
  machine.copyIn(file, place);
  try {
    return await said(machine, command(place));
  } finally {
    await machine.must(['rm', place]);
  }
}

const said = (machine: CleanMachine, argv: readonly string[]): Promise<string> =>
  machine.must(['sh', '-c', 'exec "$@" 2>&1', 'sh', ...argv]);
