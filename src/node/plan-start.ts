import { prepareBackend } from '#src/backend/catalogue.ts';
import { readSubnetFile } from '#src/docker/subnet-file.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatPrefix, type Prefix4 } from '#src/lib/ip.ts';
import { leasesOf } from '#src/membership/acquire-lease.ts';
import { planAcquire } from '#src/network/acquire-plan.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { AgentComponents } from '#src/node/agent.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { Overlay } from '#src/node/overlay.ts';
import { overlayOptions } from '#src/node/overlay-options.ts';
import { backendUnderlay, refuseHarm } from '#src/node/refuse-harm.ts';
import { networkName } from '#src/node/remembered.ts';
import { chooseUnderlay, readHostFacts } from '#src/node/underlay.ts';
import { Firewall, type Step } from '#src/reconcile/rules/firewall.ts';
import type { Registry } from '#src/registry/registry.ts';
import { commandOf } from '#src/state/operation.ts';

/** What a start of flanneld would do on this host now. */
export interface StartPlan {
  /** What it would do with the registry, one sentence each. */
  readonly registry: readonly string[];
  /** `ip` and `bridge` commands, in order. */
  readonly commands: readonly string[];
  /** The firewall's transactions. */
  readonly transactions: readonly Step[];
}

/** Plans a start without doing any of it: reads the registry, the kernel and the firewall, and writes nothing. */
export async function planStart(
  components: AgentComponents,
  options: FlanneldOptions,
  { registry, config: text }: { readonly registry: Registry; readonly config: string },
  signal: AbortSignal,
): Promise<StartPlan> {
  const { kernel, files, random, commands, ruleset, createLogger } = components;
  const log = createLogger('plan');
  const config = parseNetworkConfig(text, registry.api === 'v2' ? 'v0.9.1' : 'head');
  const facts = await readHostFacts(kernel);
  const underlay = await chooseUnderlay(options, facts, kernel);
  // A node without an identity gets one at its start, not here.
  const looking = { ...files, writeAtomically: async () => {} };
  const identity = await readNodeIdentity({ files: looking, log }, options.stateDir);
  const instance = networkName(options.etcdPrefix);
  const host = prepareBackend(config, { links: facts.links, identity, instance });
  refuseHarm(config, host, underlay, facts, options.allowOverlap, log);
  const previous = await readSubnetFile(files, options.subnetFile);
  const { records } = await registry.list(signal);
  const claimant = { node: identity, publicIp: underlay.publicIp };
  const leases = await leasesOf(records, claimant, components.clock);
  const acquisition = planAcquire({ config, leases, claimant, previous: previous.subnet, avoid: [], random });
  const lease = describe(acquisition);
  const backend = host.make(backendUnderlay(underlay), lease.taken);
  const firewall = new Firewall(
    { commands, files, ruleset, log },
    { mode: config.nftables ? 'nftables' : 'auto' },
  );
  const overlay = new Overlay(
    { ...components, firewall },
    { config, subnet: lease.subnet, underlay, backend, previous },
    overlayOptions(options),
  );
  await overlay.replacePeers(records);
  const { operations, transactions } = await overlay.plan(signal);
  return { registry: [lease.text], commands: operations.map(commandOf), transactions };
}

interface PlannedLease {
  readonly subnet: Prefix4;
  readonly text: string;
  readonly taken?: LeaseAttributes;
}

function describe(plan: ReturnType<typeof planAcquire>): PlannedLease {
  switch (plan.kind) {
    case 'refuse':
      throw new WeftError('lease', `a start would fail: ${plan.reason}`, { remedy: plan.remedy });
    case 'discard':
      throw new WeftError(
        'lease',
        `a start would delete the lease ${plan.lease.name}, which does not fit the network config, and take another`,
      );
    case 'create':
      return planned(plan.subnets, 'would create the lease');
    case 'reuse':
      return { ...planned(plan.lease.subnets, 'would renew the lease'), taken: plan.lease.attributes };
    case 'challenge': {
      const text = `would ask node ${plan.lease.attributes.node} whether it lives, and take over its lease if not:`;
      return { ...planned(plan.lease.subnets, text), taken: plan.lease.attributes };
    }
  }
}

function planned(subnets: Subnets, text: string): PlannedLease {
  if (subnets.v4 === undefined) throw new WeftError('lease', 'the lease has no IPv4 subnet');
  return { subnet: subnets.v4, text: `${text} ${formatSubnetName(subnets)} (${formatPrefix(subnets.v4)})` };
}
