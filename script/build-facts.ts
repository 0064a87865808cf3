import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Build } from '#src/lib/build.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * What an executable says of where it comes from (`weft version`). The same for the same commit: no clock is read.
 * SOURCE_DATE_EPOCH wins over the commit's time (https://reproducible-builds.org/specs/source-date-epoch/).
 */
export function buildFacts(
  version: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Build {
  const commit = git('rev-parse', 'HEAD');
  const seconds = environment.SOURCE_DATE_EPOCH ?? git('show', '--no-patch', '--format=%ct', 'HEAD');
  const changes = git('status', '--porcelain') ?? '';
  return {
    version,
    ...(commit !== undefined && { commit: changes === '' ? commit : `${commit}+changes` }),
    ...(seconds !== undefined && { committedAt: new Date(Number(seconds) * 1000).toISOString() }),
  };
}

/** One answer of git's; `undefined` where there is no git, or no repository. */
function git(...words: string[]): string | undefined {
  const { status, stdout } = spawnSync('git', ['-C', ROOT, ...words], { encoding: 'utf8' });
  return status === 0 ? stdout.trim() : undefined;
}
