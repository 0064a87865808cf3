import type { FastPathComponents } from '#src/node/fast-path/network-fast-path.ts';

/** The programs of this host's fast paths, past the reconciler. */
export type FastPrograms = Pick<FastPathComponents, 'counts' | 'prepare'>;

/** What the fast paths of a host's networks share. */
export type FastPathHost = Pick<FastPathComponents, 'users' | 'readFilters' | 'wireSockets'> & FastPrograms;
