import type { Backend } from '#src/backend/backend.ts';
import { readChangeMember } from '#src/network/change-member.ts';
import { type ChangePlan, isSwitched } from '#src/network/change-plan.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';

/** One of the two paths of a change: where it comes from, or where it goes. */
export type Side = 'from' | 'to';

export const otherSide = (side: Side): Side => (side === 'from' ? 'to' : 'from');

/** The side that a lease speaks of by itself in this phase; the other one is in `Weft.Change`. */
export const sideOfLeases = ({ phase }: Pick<ChangePlan, 'phase'>): Side =>
  isSwitched(phase) ? 'to' : 'from';

/** What of a backend tells leases of the two sides apart. */
type Marked = Pick<Backend, 'published' | 'shared'>;

/** Reads in leases what each host says of the two paths. */
export class PathSides {
  readonly #plan: Pick<ChangePlan, 'id' | 'phase'>;
  readonly #marks: Readonly<Record<Side, Marked>>;

  constructor(plan: Pick<ChangePlan, 'id' | 'phase'>, marks: Readonly<Record<Side, Marked>>) {
    this.#plan = plan;
    this.#marks = marks;
  }

  /**
   * Of which path the lease itself speaks. A host may be a phase ahead of us or behind, or through with the change, so that
   * its own words count: the backend's type, and where both have one, what of the options is in BackendData (the VNI).
   */
  spokenBy({ backendType, backendData, backendV6Data, weft }: LeaseAttributes): Side {
    const { from, to } = this.#marks;
    const expected = sideOfLeases(this.#plan);
    if (from.published.backendType !== to.published.backendType) {
      const side = [expected, otherSide(expected)].find(
        (one) => this.#marks[one].published.backendType === backendType,
      );
      return side ?? expected;
    }
    for (const name of Object.keys(to.shared)) {
      if (from.shared[name] === to.shared[name]) continue;
      for (const data of [backendData, backendV6Data]) {
        const value = isJsonObject(data) ? fieldOf(data, name) : undefined;
        if (value === to.shared[name]) return 'to';
        if (value === from.shared[name]) return 'from';
      }
    }
    // BackendData has no port. A host that says nothing of the change has not begun, or is through with it.
    const { id, phase } = readChangeMember({ ...(weft !== undefined && { weft }) }) ?? {};
    return id === this.#plan.id && phase !== undefined ? sideOfLeases({ phase }) : expected;
  }

  /** What a lease says of a path, as if there were no other; `undefined` when it says nothing. */
  viewOf(attributes: LeaseAttributes, side: Side): LeaseAttributes | undefined {
    if (this.spokenBy(attributes) === side) return attributes;
    const member = readChangeMember(attributes);
    if (member?.id !== this.#plan.id || member.other === undefined) return undefined;
    const { backendType: _, backendData: _4, backendV6Data: _6, ...rest } = attributes;
    return { ...rest, ...member.other };
  }
}
