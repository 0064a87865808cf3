import type { Check } from '#src/diagnose/check.ts';
import { known } from '#src/diagnose/facts/fact.ts';

/** From here on a table counts as full: the kernel begins to drop before the last place is taken. */
const FULL = 0.95;

export const LIMIT_CHECKS: readonly Check[] = [
  {
    id: 'conntrack-full',
    title: 'the table of tracked connections has room',
    why: 'When it is full the kernel drops the packets of new connections, here and there.',
    causes: [],
    look({ conntrack }) {
      const { used, most } = known(conntrack);
      if (used < most * FULL) return undefined;
      return {
        what: `The table of tracked connections is full: ${used} of ${most}.`,
        remedy: `sysctl -w net.netfilter.nf_conntrack_max=${most * 2} && echo net.netfilter.nf_conntrack_max=${most * 2} > /etc/sysctl.d/90-conntrack.conf`,
      };
    },
  },
  {
    id: 'neighbour-table-full',
    title: 'the neighbour table has room',
    why: 'When it is full the kernel learns no new MAC: "neighbour table overflow" in its log.',
    causes: [],
    look({ neighbourTable }) {
      const { used, most } = known(neighbourTable);
      if (used < most * FULL) return undefined;
      const [first, second, third] = [most, most * 2, most * 4];
      return {
        what: `The neighbour table is full: ${used} of ${most} entries.`,
        remedy: `sysctl -w net.ipv4.neigh.default.gc_thresh1=${first} net.ipv4.neigh.default.gc_thresh2=${second} net.ipv4.neigh.default.gc_thresh3=${third}`,
      };
    },
  },
];
