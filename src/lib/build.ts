/** What script/release writes into an executable. */
export interface Build {
  /** As in `1.2.3`. */
  readonly version: string;
  /** Of the source, 40 hexadecimal digits; with `+changes` where the tree had some. Absent where git did not say. */
  readonly commit?: string;
  /** When that commit was made, ISO 8601. */
  readonly committedAt?: string;
}

/** esbuild puts a value in the place of this name (script/build-facts.ts). A checkout has no such thing. */
declare const WEFT_BUILD: Build | undefined;

/** Of this executable; `undefined` in a checkout. */
export const BUILD: Build | undefined = typeof WEFT_BUILD === 'undefined' ? undefined : WEFT_BUILD;
