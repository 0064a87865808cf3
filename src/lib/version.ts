import { BUILD } from '#src/lib/build.ts';

/** The version of the programs: the release's, in a checkout the same as package.json's. */
export const VERSION: string = BUILD?.version ?? '0.1.0';
