import { type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { readPacketFilters } from '#src/diagnose/facts/packet-filters.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { SeenRules } from '#src/firewall/what-drops.ts';
import { messageOf } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { type FirewallHost, findPrograms } from '#src/reconcile/rules/programs.ts';
import { versionsOnce } from '#src/sys/command.ts';

/** The packet filters of the host. */
export interface PacketFilter {
  readonly filters: SeenFilters;
  /** Others have rules in both kinds of iptables. */
  readonly mixed: boolean;
  /** What our own rules lack, in words; nothing when they are as wanted. `undefined` where they can't be compared. */
  readonly faults: readonly string[] | undefined;
}

/** Which rules of ours should be there. */
export interface OwnRules {
  readonly wanted: WantedRules;
  readonly mode: 'auto' | 'nftables';
  readonly instance: string;
}

/** Equals `iptables-save`, `iptables-legacy-save` and `nft list ruleset`, compared with what a start would write. */
export async function readPacketFilter(
  host: FirewallHost,
  own: OwnRules | undefined,
  signal: AbortSignal,
): Promise<Fact<PacketFilter>> {
  try {
    const asked = { ...host, commands: versionsOnce(host.commands) };
    const programs = findPrograms(asked, signal);
    const [filters, faults, { mixed }] = await Promise.all([
      readPacketFilters(asked),
      own && faultsOf(asked, programs, own, signal),
      programs,
    ]);
    return knownFact({ filters, mixed, faults });
  } catch (error) {
    return unknownFact(`the packet filter can't be read: ${messageOf(error)}`);
  }
}

async function faultsOf(
  host: FirewallHost,
  programs: ReturnType<typeof findPrograms>,
  { wanted, mode, instance }: OwnRules,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const firewall = new Firewall({ ...host, log: silentLogger, programs }, { mode, instance });
  const verdict = await firewall.verify(wanted, signal);
  return verdict.asWanted ? [] : verdict.missing;
}

/** The part of it that a daemon looks at for drops of what it forwards; see firewall/what-drops.ts. */
export const forwardedBy = ({ iptables, nftables }: SeenFilters): SeenRules => ({
  iptables: iptables.map((seen) => ({ ...seen, family: seen.program.startsWith('ip6') ? 6 : 4 })),
  nftables: nftables.flatMap(({ family, name, table }) =>
    (family === 'ip' || family === 'ip6' || family === 'inet') && !/^flannel-ipv[46]\b/.test(name)
      ? [{ family, name, table }]
      : [],
  ),
});
