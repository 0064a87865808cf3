import { readSubnetFile } from '#src/docker/subnet-file.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { leasesOf } from '#src/membership/acquire-lease.ts';
import { planAcquire } from '#src/network/acquire-plan.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { formatSubnetName } from '#src/network/subnet-name.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { formatCommand } from '#src/node/jobs/command-jobs.ts';
import type { NetworkId } from '#src/node/network-id.ts';
import { makeDataPath, networkParts } from '#src/node/network-parts.ts';
import { addressesToAvoid } from '#src/node/overlap.ts';
import { type HostComponents, networkHost } from '#src/node/shared-host.ts';
import { settleKeys } from '#src/node/start-network.ts';
import type { Step } from '#src/reconcile/rules/firewall.ts';
import { leasesFor, refuseFlannels } from '#src/registry/ipv6-leases.ts';
import type { Registry } from '#src/registry/registry.ts';
import { commandOf } from '#src/state/operation.ts';
import type { RunShell } from '#src/sys/shell.ts';

/** What a start of flanneld would do on this host now. */
export interface StartPlan {
  /** What it would do with the registry, one sentence each. */
  readonly registry: readonly string[];
  /** `ip` and `bridge` commands, in order, and the commands and programs of a backend that has some. */
  readonly commands: readonly string[];
  /** The firewall's transactions. */
  readonly transactions: readonly Step[];
}

/**
 * Plans a start of one network without doing any of it: reads the registry, the kernel and the firewall, and writes
 * nothing. The intent and the data path are those of a start.
 */
export async function planStart(
  components: HostComponents,
  { id, options }: { readonly id: NetworkId; readonly options: FlanneldOptions },
  { registry, config: text }: { readonly registry: Registry; readonly config: string },
  signal: AbortSignal,
): Promise<StartPlan> {
  const { files, random, clock, createLogger } = components;
  // A node without an identity gets one at its start, not here.
  const looking = {
    ...files,
    writeAtomically: async () => {},
    append: async () => {},
    createExclusively: async () => false,
  };
  const identity = await readNodeIdentity({ files: looking, log: createLogger('plan') }, options.stateDir);
  // A plan names the commands of an operator, and runs none.
  const shell: RunShell = async () => ({ code: 0, output: '', isCut: false });
  // A node without a key gets one at its start, too.
  const { looking: secrets } = components.secrets;
  const host = networkHost(
    {
      ...components,
      shell,
      secrets: { read: (names) => secrets.read(names), rotated: secrets.rotated, looking: secrets },
    },
    options,
    identity,
    signal,
  );
  const parts = networkParts(host, id, options);
  await parts.trust.open(false);
  const config = parseNetworkConfig(text, registry.api === 'v2' ? 'v0.9.1' : 'head');
  const previous = await readSubnetFile(files, parts.artefacts.subnetFile);
  const remembered = await parts.memory.recall();
  const draft = await parts.maker.draft(config, {
    subnets: previous.subnets,
  });
  await refuseFlannels(registry, config.ranges, signal);
  const { records } = await leasesFor(registry, config.ranges).list(signal);
  const claimant = { node: identity, publicIp: draft.underlay.publicIp };
  const lease = describe(
    planAcquire({
      config,
      leases: await leasesOf(
        records,
        {
          config,
          claimant,
          overlap: draft.overlap,
          judge: (attributes) => draft.judge(attributes),
        },
        clock,
      ),
      claimant,
      previous: previous.subnets,
      avoid: addressesToAvoid(draft.overlap),
      random,
    }),
  );
  const intent = draft.intent(lease.subnets, lease.taken);
  const life = new Lifetime(signal);
  try {
    await parts.names.foresee(draft.prepared.instance, remembered?.instance);
    const dataPath = makeDataPath(parts, { intent, previous }, life);
    if (lease.taken !== undefined) await settleKeys(parts, dataPath, lease.taken, { isLooking: true });
    const plan = await dataPath.plan(records, parts.names.use(intent), signal);
    return {
      registry: [lease.text],
      commands: [
        ...(draft.prepared.preparation === undefined ? [] : [formatCommand(draft.prepared.preparation)]),
        ...plan.operations.map(commandOf),
        ...plan.jobs,
      ],
      transactions: plan.transactions,
    };
  } finally {
    await life.stop();
    await parts.names.release();
  }
}

interface PlannedLease {
  readonly subnets: Subnets;
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

const planned = (subnets: Subnets, text: string): PlannedLease => ({
  subnets,
  text: `${text} ${formatSubnetName(subnets)} (${valuesOf(subnets).map(formatPrefix).join(' and ')})`,
});
