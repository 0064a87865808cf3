/** Collects how what was found differs from what is wanted. */
export class Differences {
  readonly texts: string[] = [];

  /** Adds `label: FOUND, wanted WANTED` where the two differ. What is not wanted of an object is not compared. */
  field<V>(
    label: string,
    wanted: V | undefined,
    found: V | undefined,
    format: (value: V) => string = String,
  ): this {
    if (wanted !== undefined && wanted !== found)
      this.texts.push(`${label}: ${found === undefined ? 'none' : format(found)}, wanted ${format(wanted)}`);
    return this;
  }
}
