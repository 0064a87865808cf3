import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { CommandRunner } from '#src/sys/command.ts';

/** The package that brought this program, as its manager has it. */
export interface InstalledPackage {
  readonly manager: 'dpkg' | 'rpm';
  readonly name: string;
  readonly version: string;
  /** Files that are missing or not as they were installed. A conffile that was edited is none of them. */
  readonly changed: readonly string[];
}

/** `program`: the executable, links followed. */
export async function readInstalledPackage(
  commands: CommandRunner,
  program: string,
): Promise<Fact<InstalledPackage>> {
  return (
    (await fromDpkg(commands, program)) ??
    (await fromRpm(commands, program)) ??
    absentFact('no package brought this program')
  );
}

async function fromDpkg(
  commands: CommandRunner,
  program: string,
): Promise<Fact<InstalledPackage> | undefined> {
  const owner = await commands.run(['dpkg-query', '--search', program]);
  const name = /^([^\s:,]+)(?::\w+)?: /m.exec(owner.stdout)?.[1];
  if (owner.code !== 0 || name === undefined) return undefined;
  const shown = await commands.run(['dpkg-query', '--show', name]);
  const checked = await commands.run(['dpkg', '--verify', name], { timeoutMs: 60_000 });
  if (shown.code !== 0 || checked.code > 1) return unknownFact(`dpkg does not say: ${checked.stderr.trim()}`);
  return knownFact({
    manager: 'dpkg',
    name,
    version: shown.stdout.trim().split('\t').at(-1) ?? '',
    changed: changedIn(checked.stdout),
  });
}

async function fromRpm(
  commands: CommandRunner,
  program: string,
): Promise<Fact<InstalledPackage> | undefined> {
  const owner = await commands.run(['rpm', '--query', '--file', '--queryformat=%{NAME} %{EVR}', program]);
  const [name = '', version = ''] = owner.stdout.split(' ');
  if (owner.code !== 0) return undefined;
  const checked = await commands.run(['rpm', '--verify', name], { timeoutMs: 60_000 });
  return knownFact({ manager: 'rpm', name, version, changed: changedIn(checked.stdout) });
}

/**
 * Lines of `dpkg --verify` and `rpm --verify`: `??5??????   /usr/bin/weft`, `missing     /usr/bin/weft`; a letter before the path
 * marks a conffile (`c`) and the like.
 */
export const changedIn = (text: string): string[] =>
  text.split('\n').flatMap((line) => {
    const [, what = '', kind, path] = /^(\S+)\s+(?:([a-z]) )?(\/.*?)(?: \(.*\))?$/.exec(line) ?? [];
    // Of a conffile only that it is missing counts. Without a changed text (5) or mode (M) a file is as it was.
    const isWrong = what === 'missing' || (kind !== 'c' && /[5MULSDG]/.test(what));
    return path !== undefined && isWrong ? [path] : [];
  });
