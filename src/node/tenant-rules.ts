import { monitorNftables } from '#src/kernel/nftables-monitor.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { ruleCheckMs } from '#src/node/network-options.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import { type CommandRunner, commandsIn } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { networkNamespacePath } from '#src/sys/network-namespaces.ts';

interface TenantRulesHost
  extends Pick<HostComponents, 'commands' | 'ruleset' | 'watchRules' | 'clock' | 'createLogger'> {
  /** Default: nobody. */
  readonly events?: HostEvents;
  /** Programs in the tenants' namespace. Default: those of this host, in that namespace. */
  readonly commandsInside?: CommandRunner;
}

/** The rules in that namespace, and those of the tunnels in the host's own. */
export function tenantRules(
  { commands, ruleset, watchRules, clock, createLogger, events, commandsInside }: TenantRulesHost,
  options: FlanneldOptions,
): TenantRules {
  const namespace = networkNamespacePath(TENANT_NAMESPACE);
  const netlink = { netlink: systemNetlink, clock };
  return new TenantRules(
    {
      inside: {
        commands: commandsInside ?? commandsIn(commands, namespace),
        ruleset: new NftablesRuleset(netlink, { namespace }),
        watchRules: (listener, signal) => monitorNftables(netlink, { namespace }, listener, signal),
      },
      host: { commands, ruleset, watchRules },
      clock,
      log: createLogger('firewall'),
      ...(events !== undefined && { events }),
    },
    { port: options.tenantPort, intervalMs: ruleCheckMs(options) },
  );
}
