import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The checkout. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** What git says of the checkout; `undefined` where there is no git, or no repository. */
export function git(...words: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', ['-C', ROOT, ...words], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}

/**
 * The time that everything made of this tree has, in seconds since 1970: SOURCE_DATE_EPOCH, else the commit's
 * (https://reproducible-builds.org/specs/source-date-epoch/). No clock is read. Throws where neither is known.
 */
export function sourceDate(environment: Readonly<Record<string, string | undefined>> = process.env): number {
  const text = environment.SOURCE_DATE_EPOCH ?? git('log', '-1', '--format=%ct');
  if (text === undefined) throw new Error('the time of the commit is not known; set SOURCE_DATE_EPOCH to it');
  if (!/^\d{1,11}$/.test(text))
    throw new Error(
      `SOURCE_DATE_EPOCH is not a number of seconds, but "${text}"; set it to one, or unset it`,
    );
  return Number(text);
}
