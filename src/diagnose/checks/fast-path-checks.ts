import type { Check } from '#src/diagnose/check.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';

/** How a reason begins that is not the host's: see network-fast-path.ts. */
const KERNEL_REFUSES = 'the kernel refuses ';
const NO_RIGHT_OR_KERNEL =
  'do what the line says: flanneld lacks a right, or this kernel can’t do it; or start flanneld with --fast-path=off, or write "FastPath": "off" into the network config';

/** Nothing where nobody asked for it, or no daemon says so: another check finds that. */
const fastPathOf = ({ daemon }: HostFacts): FastPathStatus | undefined =>
  daemon.state === 'running' ? daemon.status.fastPath : undefined;

export const FAST_PATH_CHECKS: readonly Check[] = [
  {
    id: 'fast-path-refused',
    title: 'flows go fast where the fast path was asked for (--fast-path)',
    why: 'Packets flow as they do without a fast path: each of them goes through bridge, rules and tunnel device.',
    causes: [],
    look(facts) {
      const status = fastPathOf(facts);
      if (status?.state !== 'refused') return undefined;
      return {
        what: `The fast path is refused: ${status.reasons.join('; ')}.`,
        remedy: status.reasons.some((reason) => reason.startsWith(KERNEL_REFUSES))
          ? NO_RIGHT_OR_KERNEL
          : 'take the rule or the queue away if nobody needs it, or write "FastPath": "off" into the network config, or start flanneld with --fast-path=off',
      };
    },
  },
  {
    id: 'fast-path-tcp',
    title: 'conntrack takes TCP packets whose predecessors went fast (nf_conntrack_tcp_be_liberal)',
    why: 'Conntrack sees a sample of each fast flow. Without the setting it calls the rest INVALID, which many rule sets drop.',
    causes: [],
    look(facts) {
      const status = fastPathOf(facts);
      if (status?.state !== 'on' || status.tcp) return undefined;
      return {
        what: 'TCP stays slow: net.netfilter.nf_conntrack_tcp_be_liberal is 0, and flanneld can’t set it.',
        remedy:
          'sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1, or let flanneld write to /proc/sys; "weft status" says when TCP goes fast',
      };
    },
  },
];
