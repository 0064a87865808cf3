import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftRuleset } from '#src/firewall/nft-listing.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import { FAMILIES, type Family } from '#src/firewall/rules.ts';
import {
  type FirewallHost,
  findPrograms,
  IPTABLES_TABLES,
  readRules,
  saveCommand,
  toItsEnd,
} from '#src/reconcile/rules/programs.ts';

const READ = 'could not read the packet filter';
const LIST = ['nft', '-j', 'list', 'ruleset'] as const;
const WORDS: Readonly<Record<Family, string>> = { 4: 'ip', 6: 'ip6' };

/**
 * All packet filters of a host: `iptables-save` and `ip6tables-save` of each kind, and `nft -j list ruleset`. What no program shows is
 * left out. Throws WeftError `firewall` where a program did not come to its end.
 */
export async function readPacketFilters(host: FirewallHost): Promise<SeenFilters> {
  const { iptables } = await findPrograms(host);
  const [saves, ruleset] = await Promise.all([
    Promise.all(
      FAMILIES.flatMap((family) => iptables.map((kind) => ({ family, kind }))).map(async (asked) => {
        const { family, kind } = asked;
        const save = saveCommand(kind, family);
        const { code, stdout } = toItsEnd(READ, save, await readRules(host, kind, family));
        const program = save[0].replace(/-save$/, '');
        return code === 0 ? [{ ...asked, program, saved: parseIptablesSave(stdout) }] : [];
      }),
    ),
    host.commands.run(LIST).then((result) => toItsEnd(READ, LIST, result)),
  ]);
  const read = saves.flat();
  const shown = read.flatMap(({ kind, family }) => (kind.kind === 'nft' ? WORDS[family] : []));
  const tables = ruleset.code === 0 ? parseNftRuleset(ruleset.stdout) : [];
  return {
    iptables: read,
    nftables: tables.filter(
      ({ family, name }) => !(shown.includes(family) && IPTABLES_TABLES.includes(name)),
    ),
  };
}
