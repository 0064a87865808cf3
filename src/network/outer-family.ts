import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';

/**
 * The family of the outer packets that carry packets of a family: its own where the host has an address in it, else the
 * other. All hosts of a network have to be alike in this.
 */
export const outerFamily = (family: FamilyName, address: PerFamily<unknown>): FamilyName =>
  address[family] === undefined ? (family === 'v4' ? 'v6' : 'v4') : family;
