import type { Output } from '#src/cli/terminal.ts';
import type { Check } from '#src/diagnose/check.ts';
import { docsOf } from '#src/diagnose/check.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';

/** What the commands that run checks have in common. */
export const CHECK_FLAGS = {
  list: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'list the checks, and look at nothing',
  },
  only: {
    kind: 'list',
    default: [],
    environment: false,
    description: 'run these checks alone: `ID,…`',
  },
} as const satisfies FlagTable;

type Named = Pick<Check, 'id' | 'title' | 'why'>;

/** Those of `--only`; all without it. Throws WeftError `usage` for one that is not there. */
export function assertChecks(only: readonly string[], checks: readonly Named[], command: string): void {
  const ids = checks.map(({ id }) => id);
  const stranger = only.find((id) => !ids.includes(id));
  if (stranger !== undefined)
    throw new WeftError('usage', `there is no check ${stranger}`, {
      remedy: didYouMean(stranger, ids, `"weft ${command} --list" lists them`),
      exitCode: 2,
    });
}

export const chosen = <C extends Named>(only: readonly string[], checks: readonly C[]): readonly C[] =>
  only.length === 0 ? checks : checks.filter(({ id }) => only.includes(id));

/** `--list`: the checks, and nothing is looked at. */
export function listChecks(checks: readonly Named[], json: boolean, output: Pick<Output, 'print'>): void {
  const width = Math.max(...checks.map(({ id }) => id.length));
  if (json) {
    const list = checks.map(({ id, title, why }) => ({ id, title, why, docs: docsOf(id) }));
    output.print(JSON.stringify(list, undefined, 2));
  } else for (const { id, title } of checks) output.print(`${id.padEnd(width)}  ${title}`);
}
