/** A number from 0 (included) to 1 (excluded), such as tests can choose. No secret comes from it. */
export type Random = () => number;

export const systemRandom: Random = () => Math.random();

/** Bytes that nobody can guess. node:crypto takes 1 MB, and most starts need no secret: it is loaded when one is needed. */
export const secretBytes = (count: number): Buffer =>
  process.getBuiltinModule('node:crypto').randomBytes(count);
