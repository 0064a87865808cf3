import { absentFact, type Fact, knownFact } from '#src/diagnose/facts/fact.ts';
import { type Sysctls, sysctlNumber } from '#src/diagnose/facts/sysctls.ts';
import type { Files } from '#src/sys/files.ts';

/** How full a table of the kernel is. */
export interface TableSize {
  readonly used: number;
  readonly most: number;
}

/** Connections that are tracked. The count is this network namespace's, the limit the machine's. */
export function conntrackSize(sysctls: Sysctls): Fact<TableSize> {
  const used = sysctlNumber(sysctls, 'net/netfilter/nf_conntrack_count');
  const most = sysctlNumber(sysctls, 'net/netfilter/nf_conntrack_max');
  if (used === undefined || most === undefined) return absentFact('the kernel tracks no connections here');
  return knownFact({ used, most });
}

/**
 * IPv4 neighbours. The kernel has one table for all network namespaces, and shows its size and its limit in the first
 * one only. Permanent entries do not count towards the limit (since Linux 5.0).
 */
export async function readNeighbourSize(
  files: Pick<Files, 'read'>,
  sysctls: Sysctls,
): Promise<Fact<TableSize>> {
  const most = sysctlNumber(sysctls, 'net/ipv4/neigh/default/gc_thresh3');
  const text = await files.read('/proc/net/arp').catch(() => undefined);
  if (most === undefined || text === undefined)
    return absentFact('the limit of the neighbour table is seen in the first network namespace only');
  return knownFact({ used: countLearned(text), most });
}

/** ATF_PERM of linux/if_arp.h. */
const PERMANENT = 0x04;

/** Lines of /proc/net/arp: address, hardware type, flags, … */
export const countLearned = (arp: string): number =>
  arp
    .split('\n')
    .slice(1)
    .filter((line) => {
      const flags = /^\S+\s+0x\w+\s+(0x\w+)/.exec(line)?.[1];
      return flags !== undefined && (Number(flags) & PERMANENT) === 0;
    }).length;
