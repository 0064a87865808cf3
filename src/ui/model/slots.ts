import type { ViewSlot } from '#src/observe/api.ts';

/**
 * How a place in the kernel stands. The API has texts: the command that makes what is wanted ends with the words that say what
 * is found, where both are the same. `foreign`: nobody wants anything there.
 */
export function standingOf({ wanted, found, failure }: ViewSlot): 'as wanted' | 'not as wanted' | 'foreign' {
  if (wanted === undefined) return failure === undefined ? 'foreign' : 'not as wanted';
  return failure === undefined && found !== undefined && wanted.endsWith(found)
    ? 'as wanted'
    : 'not as wanted';
}
