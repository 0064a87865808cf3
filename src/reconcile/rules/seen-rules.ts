import { parseIptablesSave } from '#src/firewall/iptables-save.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import { FAMILIES, type Family } from '#src/firewall/rules.ts';
import type { SeenRules } from '#src/firewall/what-drops.ts';
import {
  type FirewallHost,
  IPTABLES_TABLES,
  type Programs,
  readRules,
  saveCommand,
} from '#src/reconcile/rules/programs.ts';

/** Reads the packet filters of a host as they are. What can't be read is left out. */
export async function readSeenRules(
  host: FirewallHost,
  programs: Programs,
  families: readonly Family[],
  signal?: AbortSignal,
): Promise<SeenRules> {
  const [iptables, nftables] = await Promise.all([
    readIptables(host, programs, families, signal),
    readNftables(host, programs, signal),
  ]);
  return { iptables, nftables };
}

async function readIptables(
  host: FirewallHost,
  { iptables }: Programs,
  families: readonly Family[],
  signal: AbortSignal | undefined,
): Promise<SeenRules['iptables']> {
  const reads = families.flatMap((family) =>
    iptables.map(async (kind) => {
      const { code, stdout } = await readRules(host, kind, family, signal);
      const program = saveCommand(kind, family)[0].replace(/-save$/, '');
      return code === 0 ? [{ program, family, saved: parseIptablesSave(stdout) }] : [];
    }),
  );
  return (await Promise.all(reads)).flat();
}

async function readNftables(
  { commands, ruleset }: FirewallHost,
  { nft }: Programs,
  signal: AbortSignal | undefined,
): Promise<SeenRules['nftables']> {
  const places: SeenRules['nftables'][number][] = [];
  for (const family of [...FAMILIES, 'inet'] as const) {
    for (const name of (await ruleset?.tables(family)) ?? []) {
      if (isKnown(name, family) || (await nft()) === undefined) continue;
      const word = NFT_FAMILIES[family];
      const list = ['nft', '-j', 'list', 'table', word, name] as const;
      const { code, stdout } = await commands.run(list, signal && { signal });
      // A table may be gone since it was listed.
      if (code === 0) places.push({ family: word, name, table: parseNftTable(stdout) });
    }
  }
  return places;
}

/** What is ours, and what iptables-nft's save shows. */
const isKnown = (name: string, family: Family | 'inet'): boolean =>
  family !== 'inet' && (IPTABLES_TABLES.includes(name) || /^flannel-ipv[46]\b/.test(name));

const NFT_FAMILIES = { 4: 'ip', 6: 'ip6', inet: 'inet' } as const;
