import type { Build } from '#src/lib/build.ts';
import { git, sourceDate } from './source-tree.ts';

/** What an executable says of where it comes from (`weft version`). The same for the same commit: no clock is read. */
export function buildFacts(
  version: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): Build {
  const commit = git('rev-parse', 'HEAD');
  const changes = git('status', '--porcelain') ?? '';
  return {
    version,
    ...(commit !== undefined && { commit: changes === '' ? commit : `${commit}+changes` }),
    committedAt: new Date(sourceDate(environment) * 1000).toISOString(),
  };
}
