import type { FastPathComponents } from '#src/node/fast-path/network-fast-path.ts';

/** What the fast paths of a host's networks share. */
export type FastPathHost = Pick<FastPathComponents, 'users' | 'readFilters' | 'counts' | 'wireSockets'>;
