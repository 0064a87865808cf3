import { CHANGE_FLAGS, changeRequest } from '#src/cli/change-flags.ts';
import type { Subcommand } from '#src/cli/command.ts';
import {
  addNetwork,
  describeNetworks,
  listNetworks,
  prepared,
  readConfigText,
  removeNetwork,
} from '#src/cli/flannel-networks.ts';
import {
  type RegistryCall,
  type RegistryCommandContext,
  registryCommand,
  takeWords,
  withFolders,
  withNetworks,
} from '#src/cli/registry-command.ts';
import {
  createTenant,
  describeTenants,
  inspectTenant,
  listTenants,
  removeTenant,
} from '#src/cli/tenant-commands.ts';
import { readNewTenant, TENANT_FLAGS } from '#src/cli/tenant-flags.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { OptionsOf } from '#src/lib/go-flags.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { namedNetwork } from '#src/node/network-id.ts';
import { isNetworkName, type Networks } from '#src/registry/networks.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemFiles } from '#src/sys/files.ts';
import { isTombstone } from '#src/tenant/tombstone.ts';

const FLAGS = {
  ...TENANT_FLAGS,
  kind: {
    kind: 'choice',
    default: 'auto',
    choices: ['auto', 'docker', 'flannel'],
    environment: false,
    description: 'which network is meant where there are two of one name (rm, inspect)',
  },
  ...CHANGE_FLAGS,
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON (ls, inspect)' },
} as const;

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  ls: { about: "names and configs of flannel's networks, and Docker's networks with their VNI and use" },
  add: {
    takes: 'NAME CONFIG',
    about: "write the config of a flannel network; CONFIG is its JSON, or a file's name after @",
  },
  change: {
    takes: '[NAME]',
    about:
      "change a flannel network's backend, VNI, port or MTU without an outage; without NAME the one at --etcd-prefix",
  },
  create: { takes: 'NAME', about: "make a network of Docker's driver weft, on all hosts" },
  inspect: { takes: 'NAME', about: 'a network with its hosts and addresses' },
  rm: {
    takes: 'NAME',
    about: "remove a network from all hosts: Docker's once nobody uses it, flannel's half a minute later",
  },
};

type Call = RegistryCall<OptionsOf<typeof FLAGS>>;

export const NETWORK = registryCommand({
  title: 'weft network',
  about: 'the networks below --etcd-prefix',
  subcommands: SUBCOMMANDS,
  flags: FLAGS,
  run,
});

function run(call: Call, context: RegistryCommandContext): Promise<number> | undefined {
  switch (call.command) {
    case 'ls':
      return list(call, context);
    case 'add':
      return add(call, context);
    case 'change':
      return change(call, context);
    case 'create':
      return create(call, context);
    case 'inspect':
      return inspect(call, context);
    case 'rm':
      return remove(call, context);
    default:
      return undefined;
  }
}

async function list({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  takeWords(words, 0, 'weft network ls');
  if (options.json) {
    const [ofFlannel, ofDocker] = await Promise.all([
      withNetworks(options, context, listNetworks),
      withFolders(options, context, listTenants),
    ]);
    context.output.print(JSON.stringify({ flannel: ofFlannel, docker: ofDocker }, undefined, 2));
    return 0;
  }
  const [flannel, docker] = await Promise.all([
    withNetworks(options, context, describeNetworks),
    withFolders(options, context, describeTenants),
  ]);
  const { output } = context;
  output.print("flannel's networks:");
  for (const line of flannel.length === 0 ? ['none'] : flannel) output.print(`  ${line}`);
  output.print("Docker's networks (driver weft):");
  for (const line of docker.length === 0 ? ['none'] : docker) output.print(`  ${line}`);
  return 0;
}

async function add({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  const [name = '', config = ''] = takeWords(words, 2, 'weft network add NAME CONFIG');
  const text = await readConfigText(config);
  // What is wrong by itself is refused before anybody is asked.
  namedNetwork(options.etcdPrefix, name);
  const parts = { name, text, config: parseNetworkConfig(text) };
  const { devices } = prepared(parts.config);
  return withNetworks(options, context, (networks, signal) =>
    addNetwork(networks, { ...parts, devices }, context.output, signal),
  );
}

async function change({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  const [name] = words.length === 0 ? [undefined] : takeWords(words, 1, 'weft network change [NAME]');
  const prefix = name === undefined ? options.etcdPrefix : namedNetwork(options.etcdPrefix, name).prefix;
  const { changeNetwork } = await import('#src/cli/change-network.ts');
  const by = (await systemFiles.read('/proc/sys/kernel/hostname'))?.trim() ?? '';
  return changeNetwork({ ...options, etcdPrefix: prefix }, changeRequest(options, by), context);
}

async function create({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  const [name = ''] = takeWords(words, 1, 'weft network create NAME');
  const wish = readNewTenant(name, options);
  return withFolders(options, context, (folders, signal) =>
    createTenant(folders, wish, context.output, signal),
  );
}

async function inspect({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  const [name = ''] = takeWords(words, 1, 'weft network inspect NAME');
  const { output } = context;
  return byKind(
    { name, options, context },
    {
      docker: (folders, signal) =>
        inspectTenant(folders, { name, json: options.json, width: context.screen.width }, output, signal),
      async flannel(networks, signal) {
        // It has nothing in the registry beside its config and its leases.
        output.print((await networks.readConfig(name, signal)) ?? '');
        return 0;
      },
    },
  );
}

async function remove({ words, options }: Call, context: RegistryCommandContext): Promise<number> {
  const [name = ''] = takeWords(words, 1, 'weft network rm NAME');
  const { output } = context;
  return byKind(
    { name, options, context },
    {
      docker: (folders, signal) => removeTenant(folders, name, output, signal),
      flannel: (networks, signal) => removeNetwork(networks, name, output, signal),
    },
  );
}

interface Named extends Pick<Call, 'options'> {
  readonly name: string;
  readonly context: RegistryCommandContext;
}

interface ByKind {
  docker(folders: RecordFolders, signal: AbortSignal): Promise<number>;
  flannel(networks: Networks, signal: AbortSignal): Promise<number>;
}

/** Does one or the other. A name that is nobody's is taken for Docker's, of which something may be left. */
async function byKind({ name, options, context }: Named, { docker, flannel }: ByKind): Promise<number> {
  const kind = options.kind === 'auto' ? await kindOf({ name, options, context }) : options.kind;
  return kind === 'flannel' ? withNetworks(options, context, flannel) : withFolders(options, context, docker);
}

async function kindOf({ name, options, context }: Named): Promise<'docker' | 'flannel'> {
  const [config, tenant] = await Promise.all([
    withNetworks(options, context, async (networks, signal) =>
      isNetworkName(name) ? networks.readConfig(name, signal) : undefined,
    ),
    withFolders(options, context, (folders, signal) => folders.folder('tenants/networks').read(name, signal)),
  ]);
  const isTenant = tenant !== undefined && !isTombstone(tenant.value);
  if (config === undefined || !isTenant) return config === undefined ? 'docker' : 'flannel';
  throw new WeftError('network-kind', `there are two networks ${name}, flannel's and Docker's`, {
    remedy: 'add --kind=flannel or --kind=docker',
  });
}
