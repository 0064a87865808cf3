import { randomBytes } from 'node:crypto';

/** A number from 0 (included) to 1 (excluded), such as tests can choose. No secret comes from it. */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** Bytes that nobody can guess. */
export const secretBytes = (count: number): Buffer => randomBytes(count);
