/** One value for each address family that is in use: `PerFamily<Prefix4, Prefix6>`, or `PerFamily<T>` for the same type. */
export interface PerFamily<T4, T6 = T4> {
  readonly v4?: T4;
  readonly v6?: T6;
}

export type FamilyName = keyof PerFamily<unknown>;

/** In the order in which both are worked through: flannel does IPv4 first. */
export const FAMILY_NAMES: readonly FamilyName[] = ['v4', 'v6'];

/** For messages: `IPv4`. */
export const familyText = (family: FamilyName): string => (family === 'v4' ? 'IPv4' : 'IPv6');

/** The values that are there, IPv4 first. */
export function valuesOf<T4, T6>({ v4, v6 }: PerFamily<T4, T6>): (T4 | T6)[] {
  const values: (T4 | T6)[] = [];
  if (v4 !== undefined) values.push(v4);
  if (v6 !== undefined) values.push(v6);
  return values;
}

/** The families that have a value, IPv4 first. */
export const familiesOf = (values: PerFamily<unknown>): readonly FamilyName[] =>
  FAMILY_NAMES.filter((family) => values[family] !== undefined);

/** The value of each family that has one, as another value. */
export function mapFamilies<T4, T6, R4, R6>(
  { v4, v6 }: PerFamily<T4, T6>,
  map4: (value: T4) => R4,
  map6: (value: T6) => R6,
): PerFamily<R4, R6> {
  return { ...(v4 !== undefined && { v4: map4(v4) }), ...(v6 !== undefined && { v6: map6(v6) }) };
}
