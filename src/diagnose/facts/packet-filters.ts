import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftRuleset } from '#src/firewall/nft-listing.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import {
  type FirewallHost,
  findPrograms,
  IPTABLES_TABLES,
  readRules,
  saveCommand,
} from '#src/reconcile/rules/programs.ts';

/**
 * All packet filters of a host, for IPv4: `iptables-save` of each kind, and `nft -j list ruleset`. What no program shows is
 * left out.
 */
export async function readPacketFilters(host: FirewallHost): Promise<SeenFilters> {
  const { iptables } = await findPrograms(host);
  const [saves, ruleset] = await Promise.all([
    Promise.all(
      iptables.map(async (kind) => {
        const { code, stdout } = await readRules(host, kind, 4);
        const program = saveCommand(kind, 4)[0].replace(/-save$/, '');
        return code === 0 ? [{ kind, program, saved: parseIptablesSave(stdout) }] : [];
      }),
    ),
    host.commands.run(['nft', '-j', 'list', 'ruleset']),
  ]);
  const read = saves.flat();
  const shown = read.some(({ kind }) => kind.kind === 'nft');
  const tables = ruleset.code === 0 ? parseNftRuleset(ruleset.stdout) : [];
  return {
    iptables: read,
    nftables: tables.filter(
      ({ family, name }) => !(shown && family === 'ip' && IPTABLES_TABLES.includes(name)),
    ),
  };
}
