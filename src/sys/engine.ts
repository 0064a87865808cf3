import { setFlagsFromString } from 'node:v8';

/**
 * The daemon is to be small (docs/performance.md has the figures): an old generation that grows by little before it is
 * collected, and one optimizing compiler of V8's two, and that without inlining: each takes megabytes while it works, and
 * a start has ended before the other one pays.
 */
const SMALL = ['--heap-growing-percent=60', '--no-opt', '--no-maglev-inlining'];

/**
 * To be called when all is loaded, and not on the command line: V8 takes no code that was compiled ahead with other flags
 * than it has, Node's own modules included, and a start takes 20 ms longer.
 */
export function keepSmall(): void {
  for (const flag of SMALL) setFlagsFromString(flag);
}
