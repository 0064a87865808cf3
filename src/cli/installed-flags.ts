import { parseEnv } from 'node:util';
import { addEnvironment, type FlagValue, parseFlags } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import type { Files } from '#src/sys/files.ts';

type Given = ReadonlyMap<string, FlagValue>;

/** What flanneld.service reads, in its order: of two that set a variable the later one counts. */
const SETTINGS = ['/etc/default/flanneld', '/etc/weft/flanneld.conf'] as const;
/** Holds flags in place of a flag's value. */
const OPTIONS = 'FLANNELD_OPTIONS';

/**
 * Adds the settings of this host's flanneld.service to what a user gave, so that a command before the first start, or after
 * the last stop, need not repeat them. A user's come first. A file that the user may not read counts as none.
 */
export async function addInstalledFlags(files: Pick<Files, 'read'>, given: Given): Promise<Given> {
  const texts = await Promise.all(SETTINGS.map((path) => files.read(path).catch(() => undefined)));
  const variables = Object.assign({}, ...texts.map((text) => parseEnv(text ?? ''))) as NodeJS.Dict<string>;
  const words = (variables[OPTIONS] ?? '').split(/\s+/).filter((word) => word !== '');
  const parsed = parseFlags(FLANNELD_FLAGS, words);
  const options = parsed.outcome === 'parsed' ? parsed.given : new Map<string, FlagValue>();
  const { given: installed } = addEnvironment(FLANNELD_FLAGS, options, ENVIRONMENT_PREFIX, variables);
  return new Map([...installed, ...given]);
}
