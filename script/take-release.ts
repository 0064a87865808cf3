import { dirname, join } from 'node:path';
import { messageOf } from '#src/lib/errors.ts';
import { builtRelease } from '../test/support/release.ts';

/** The programs under test, as test/support/flanneld.ts takes them from the environment. */
const PROGRAMS = {
  WEFT_FLANNELD: 'flanneld',
  WEFT_WEFT: 'weft',
  WEFT_MK_DOCKER_OPTS: 'mk-docker-opts',
} as const;

/**
 * A whole run tests what users get, and it costs less: a release's flanneld starts with a third of the processor time that
 * the sources take. Where no release can be made, the tests of packages say why, and the others run the sources. Programs
 * that the environment names stay. Returns which programs it is, for the report.
 */
export async function takeRelease(): Promise<string> {
  const { env } = process;
  const given = Object.keys(PROGRAMS).filter((name) => env[name] !== undefined);
  if (given.length > 0) return `those of ${given.join(' and ')}`;
  try {
    const folder = dirname((await builtRelease()).executable);
    for (const [variable, name] of Object.entries(PROGRAMS)) env[variable] = join(folder, name);
    return `a release of this tree, in ${folder}`;
  } catch (error) {
    return `the sources: ${messageOf(error)}`;
  }
}
