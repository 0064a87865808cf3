import { silentLogger } from '#src/lib/log.ts';
import { Firewall, type FirewallOptions } from '#src/reconcile/rules/firewall.ts';
import type { CommandRunner } from '#src/sys/command.ts';

/** One of the three firewalls of a kernel, on a host whose `iptables` is the nft or the legacy one. */
export interface Kind {
  readonly name: string;
  readonly mode: FirewallOptions['mode'];
  readonly iptables: '-nft' | '-legacy';
}

export const IPTABLES: readonly Kind[] = [
  { name: 'iptables-nft', mode: 'iptables', iptables: '-nft' },
  { name: 'iptables-legacy', mode: 'iptables', iptables: '-legacy' },
];
export const NFTABLES: Kind = { name: 'nftables', mode: 'nftables', iptables: '-nft' };
export const KINDS: readonly Kind[] = [...IPTABLES, NFTABLES];

/** The host's programs, the plain names of iptables standing for those of the kind. */
export const commandsOf = (host: Pick<CommandRunner, 'run'>, { iptables }: Kind): CommandRunner => ({
  run: ([program, ...args], options) =>
    host.run([program.replace(/^(ip6?tables)(-save|-restore|)$/, `$1${iptables}$2`), ...args], options),
});

export const firewallOf = (
  host: Pick<CommandRunner, 'run'>,
  kind: Kind,
  options: Partial<FirewallOptions> = {},
): Firewall =>
  new Firewall({ commands: commandsOf(host, kind), log: silentLogger }, { mode: kind.mode, ...options });
