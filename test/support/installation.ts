import { dirname } from 'node:path';
import { inRepository, WEFT } from './flanneld.ts';

const UNITS_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
/** A checkout may be used where it is; an executable is missed under its other names in the path of units. */
const isInPlace = [inRepository('bin'), ...UNITS_PATH].includes(dirname(WEFT));

/** What doctor finds of the programs under test, whatever host they run on: nothing, unless they are a release that is not installed. */
export const INSTALLATION: { readonly ids: readonly string[]; readonly code: number } = isInPlace
  ? { ids: [], code: 0 }
  : { ids: ['program-missing'], code: 1 };

export interface InstallationSaid {
  readonly findings: readonly { readonly id: string }[];
}

/** The ids of what doctor's JSON says of the installation. */
export const installationIds = ({ installation }: { readonly installation?: InstallationSaid }): string[] =>
  (installation?.findings ?? []).map(({ id }) => id);
