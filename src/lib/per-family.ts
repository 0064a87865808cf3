/** One value for each address family that is in use: `PerFamily<Prefix4, Prefix6>`, or `PerFamily<T>` for the same type. */
export interface PerFamily<T4, T6 = T4> {
  readonly v4?: T4;
  readonly v6?: T6;
}
