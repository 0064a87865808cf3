import { type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { WantedRules } from '#src/firewall/rules.ts';
import type { SeenRules } from '#src/firewall/what-drops.ts';
import { messageOf } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { type FirewallHost, findPrograms } from '#src/reconcile/rules/programs.ts';
import { readSeenRules } from '#src/reconcile/rules/seen-rules.ts';
import { versionsOnce } from '#src/sys/command.ts';

/** The packet filters of the host. */
export interface PacketFilter {
  readonly seen: SeenRules;
  /** Others have rules in both kinds of iptables. */
  readonly mixed: boolean;
  /** What our own rules lack, in words; nothing when they are as wanted. `undefined` where they can't be compared. */
  readonly faults: readonly string[] | undefined;
}

/** Which rules of ours should be there; absent where that is not known. */
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
    const looked = findPrograms(asked, signal);
    const programs = await looked;
    const [seen, faults] = await Promise.all([
      readSeenRules(asked, programs, [4], signal),
      own && faultsOf(asked, looked, own, signal),
    ]);
    return knownFact({ seen, mixed: programs.mixed, faults });
  } catch (error) {
    return unknownFact(`the packet filter can't be read: ${messageOf(error)}`);
  }
}

async function faultsOf(
  host: FirewallHost,
  programs: ReturnType<typeof findPrograms>,
  { wanted, mode, instance }: OwnRules,
  signal: AbortSignal,
): Promise<readonly string[] | undefined> {
  const firewall = new Firewall({ ...host, log: silentLogger, programs }, { mode, instance });
  const verdict = await firewall.verify(wanted, signal);
  return verdict.asWanted ? [] : verdict.missing;
}
