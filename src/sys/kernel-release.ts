import { release } from 'node:os';

/** The running kernel's release. Equals `uname -r`. */
export const kernelRelease = (): string => release();
