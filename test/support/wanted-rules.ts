import type { WantedRules } from '#src/firewall/rules.ts';
import { ipv4, ipv6, prefix4, prefix6 } from '#src/lib/ip.ts';

/** The rules of an IPv4 network with Docker, for tests of the packet filter. */
export const WANTED_RULES_V4: WantedRules = {
  v4: { network: prefix4(ipv4(0x0a050000), 16), subnet: prefix4(ipv4(0x0a051a01), 24) },
  masquerade: true,
  forward: true,
  randomFully: true,
  arriveBy: ['flannel.1'],
  dockerMark: 0x2000,
};
/** The same with IPv6. */
export const WANTED_RULES: WantedRules = {
  ...WANTED_RULES_V4,
  v6: {
    network: prefix6(ipv6(0xfc00n << 112n), 48),
    subnet: prefix6(ipv6((0xfc00n << 112n) | (1n << 64n)), 64),
  },
};
