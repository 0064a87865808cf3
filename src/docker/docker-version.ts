import { fieldsOf, textOf } from '#src/docker/docker-answers.ts';
import { WeftError } from '#src/lib/errors.ts';

/** The versions of the Engine API that the client speaks: of Docker 19.03 and of 27.2. */
const OLDEST = '1.40';
const NEWEST = '1.47';

/**
 * The version of the API to use, by the engine's answer to `GET /version`: the lower of its latest and ours. Throws
 * WeftError `docker-api` when there is none that both speak.
 */
export function negotiate(answer: unknown): string {
  const { ApiVersion, MinAPIVersion, Version } = fieldsOf(answer);
  const latest = parseVersion(ApiVersion);
  const oldest = parseVersion(MinAPIVersion) ?? [0, 0];
  if (latest === undefined) {
    throw new WeftError('docker-api', "could not learn Docker's version: its answer has no ApiVersion", {
      remedy: 'see that --docker-host names the socket of Docker',
    });
  }
  const [ours, floor] = [parseVersion(NEWEST), parseVersion(OLDEST)] as [Version, Version];
  const chosen = compare(latest, ours) < 0 ? latest : ours;
  if (compare(chosen, floor) < 0 || compare(chosen, oldest) < 0) {
    const theirs = `${oldest.join('.')} to ${latest.join('.')}`;
    const what = `Docker ${textOf(Version)} speaks its API in the versions ${theirs}, and weft in ${OLDEST} to ${NEWEST}`;
    const remedy = compare(chosen, floor) < 0 ? 'use Docker 19.03 or later' : 'use a later weft';
    throw new WeftError('docker-api', what, { remedy });
  }
  return chosen.join('.');
}

type Version = readonly [major: number, minor: number];

function parseVersion(value: unknown): Version | undefined {
  const [, major, minor] = /^(\d+)\.(\d+)$/.exec(textOf(value)) ?? [];
  return major === undefined || minor === undefined ? undefined : [Number(major), Number(minor)];
}

const compare = (a: Version, b: Version): number => a[0] - b[0] || a[1] - b[1];
