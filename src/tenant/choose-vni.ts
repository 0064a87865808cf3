import { HIGHEST_VNI } from '#src/tenant/tenant-codec.ts';

export type VniChoice =
  | { readonly kind: 'chosen'; readonly vni: number }
  | { readonly kind: 'refuse'; readonly reason: string; readonly remedy: string };

/** What is chosen begins here: beyond flannel's 1, Docker swarm's (from 4,096 on) and most that people give. */
const FIRST_CHOSEN = 10_000;

/**
 * The VNI of a new tenant: the one that was asked for, or the lowest free one from 10,000 on, or below when there is none.
 * `taken`: the tenants' names by VNI. Two hosts may choose the same at once: create `vnis/N`, and choose again when that is
 * lost.
 */
export function chooseVni(wanted: number | undefined, taken: ReadonlyMap<number, string>): VniChoice {
  if (wanted !== undefined) return judge(wanted, taken);
  for (let number = 0; number < HIGHEST_VNI; number++) {
    const vni = 1 + ((FIRST_CHOSEN - 1 + number) % HIGHEST_VNI);
    if (!taken.has(vni)) return { kind: 'chosen', vni };
  }
  const reason = `all ${HIGHEST_VNI} VNIs are taken`;
  return { kind: 'refuse', reason, remedy: 'remove networks that nobody uses' };
}

function judge(vni: number, taken: ReadonlyMap<number, string>): VniChoice {
  if (!Number.isInteger(vni) || vni < 1 || vni > HIGHEST_VNI) {
    const reason = `the VNI must be a whole number between 1 and ${HIGHEST_VNI}, it is ${vni}`;
    return { kind: 'refuse', reason, remedy: LEAVE_IT_OUT };
  }
  const holder = taken.get(vni);
  if (holder === undefined) return { kind: 'chosen', vni };
  return { kind: 'refuse', reason: `VNI ${vni} is that of network ${holder}`, remedy: LEAVE_IT_OUT };
}

const LEAVE_IT_OUT = 'give another one, or none to have one chosen';
