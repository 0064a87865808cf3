import { FLANNELD_SETTINGS } from '#src/diagnose/installation/settings-files.ts';
import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import { addEnvironment, type FlagValue, parseFlags } from '#src/lib/go-flags.ts';
import { unitWords } from '#src/lib/unit-words.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import type { Files } from '#src/sys/files.ts';

type Given = ReadonlyMap<string, FlagValue>;

/** Holds flags in place of a flag's value. */
const OPTIONS = 'FLANNELD_OPTIONS';

/**
 * Adds the settings of this host's flanneld.service to what a user gave, so that a command before the first start, or after
 * the last stop, need not repeat them. They are read as systemd reads them. A user's come first. A file that the user may not
 * read counts as none.
 */
export async function addInstalledFlags(files: Pick<Files, 'read'>, given: Given): Promise<Given> {
  const texts = await Promise.all(FLANNELD_SETTINGS.map((path) => files.read(path).catch(() => undefined)));
  const variables = Object.fromEntries(texts.flatMap((text) => [...parseEnvironmentFile(text ?? '')]));
  const parsed = parseFlags(FLANNELD_FLAGS, unitWords(variables[OPTIONS] ?? ''));
  const options = parsed.outcome === 'parsed' ? parsed.given : new Map<string, FlagValue>();
  const { given: installed } = addEnvironment(FLANNELD_FLAGS, options, ENVIRONMENT_PREFIX, variables);
  return new Map([...installed, ...given]);
}
