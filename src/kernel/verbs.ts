import { AF_INET, AF_INET6, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE } from '#src/kernel/constants.ts';
import { type Ip, isIpv4, type Prefix, prefix4, prefix6 } from '#src/lib/ip.ts';

/** iproute2's `add`: EEXIST when the slot is taken. */
export const ADD = NLM_F_CREATE | NLM_F_EXCL;
/** iproute2's `replace`: takes the slot in either case. */
export const REPLACE = NLM_F_CREATE | NLM_F_REPLACE;

/** AF_INET or AF_INET6. */
export const FAMILY_NUMBERS = { 4: AF_INET, 6: AF_INET6 } as const;
export const familyNumberOf = (ip: Ip): number => (isIpv4(ip) ? AF_INET : AF_INET6);

export const FAMILIES = [4, 6] as const;

/** The prefix that a message names; `undefined` when the address has fewer bits than that. */
export function prefixOf(address: Ip, length: number): Prefix | undefined {
  if (isIpv4(address)) return length <= 32 ? prefix4(address, length) : undefined;
  return length <= 128 ? prefix6(address, length) : undefined;
}
