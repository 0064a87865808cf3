import { WeftError } from '#src/lib/errors.ts';
import { commandFailed } from '#src/reconcile/rules/programs.ts';
import type { CommandResult } from '#src/sys/command.ts';

/** A shell's exit code, and nsenter's. */
export const NO_PROGRAM = 127;

/** nf_tables_newtable of net/netfilter/nf_tables_api.c: a family that the kernel was built without. */
export const isUnsupported = ({ stderr }: CommandResult): boolean =>
  /not supported[^\n]*\n[^\n]*add table /.test(stderr);

/** `what`: `could not set the rules of tenants' tunnels`. */
export function nftFailed(what: string, result: CommandResult): WeftError {
  if (result.code !== NO_PROGRAM) return commandFailed(what, ['nft', '-f', '-'], result);
  return new WeftError('firewall-missing', `${what}: there is no nft on this host`, {
    remedy: 'install the package nftables',
  });
}
