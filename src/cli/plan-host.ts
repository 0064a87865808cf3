import { askRegistry } from '#src/cli/ask-registry.ts';
import type { CommandContext } from '#src/cli/command.ts';
import { withRegistry } from '#src/cli/with-registry.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { type NetworkId, namedNetwork } from '#src/node/network-id.ts';
import { planStart, type StartPlan } from '#src/node/plan-start.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import type { HostComponents } from '#src/node/shared-host.ts';

/** A part of a host's start. */
export interface PartPlan extends StartPlan {
  /** Before what it would do with the registry: `registry`, `network blue`, `Docker's networks`. */
  readonly title: string;
}

export type PlanOptions = FlanneldOptions & {
  /** The name of one network; empty for all that the daemon would serve. */
  readonly network: string;
};

/**
 * What a start of flanneld would do on this host: for each network that it would serve, and then for Docker's networks, unless
 * one network was asked for. Nothing is done.
 */
export async function planHost(
  components: HostComponents,
  options: PlanOptions,
  { signal }: Pick<CommandContext, 'signal'>,
): Promise<PartPlan[]> {
  const plans: PartPlan[] = [];
  for (const { title, id } of await networksOf(components, options, signal)) {
    const plan = await withRegistry({ ...options, etcdPrefix: id.prefix }, { signal }, (opened, asked) =>
      planStart(components, { id, options }, opened, asked),
    );
    plans.push({ ...plan, title });
  }
  if (options.network === '') plans.push(...(await planDocker(components, options, signal)));
  return plans;
}

async function networksOf(
  components: HostComponents,
  options: PlanOptions,
  signal: AbortSignal,
): Promise<{ readonly title: string; readonly id: NetworkId }[]> {
  const { etcdPrefix, network, networks, watchNetworks } = options;
  const named = (name: string) => ({ title: `network ${name}`, id: namedNetwork(etcdPrefix, name) });
  if (network !== '') return [{ title: 'registry', id: namedNetwork(etcdPrefix, network) }];
  const asked = networks.filter((name) => name !== '');
  if (!watchNetworks)
    return asked.length === 0 ? [{ title: 'registry', id: { prefix: etcdPrefix } }] : asked.map(named);
  const { openNetworks } = await import('#src/registry/open-networks.ts');
  const there = await askRegistry({ signal, failure: 'no list of networks' }, async (logger, ended) => {
    const opened = await openNetworks({ ...components, logger }, registryOptions(options), ended);
    try {
      return await opened.list(ended);
    } finally {
      await opened.close();
    }
  });
  return there.filter((name) => asked.length === 0 || asked.includes(name)).map(named);
}

/** Nothing where a start would not serve Docker's driver. */
async function planDocker(
  components: HostComponents,
  options: PlanOptions,
  signal: AbortSignal,
): Promise<PartPlan[]> {
  const { planTenants, servesDocker } = await import('#src/node/plan-tenants.ts');
  if (!servesDocker(components, options)) return [];
  const { openRecordFolders } = await import('#src/registry/open-record-folders.ts');
  return askRegistry({ signal, failure: "no answer about Docker's networks" }, async (logger, ended) => {
    const folders = await openRecordFolders({ ...components, logger }, registryOptions(options), ended);
    try {
      return [{ ...(await planTenants(components, options, folders, ended)), title: "Docker's networks" }];
    } finally {
      await folders.close();
    }
  });
}
