import type { Subcommand } from '#src/cli/command.ts';
import { formatTable } from '#src/cli/format-table.ts';
import {
  type RegistryCall,
  type RegistryCommandContext,
  registryCommand,
  takeWords,
  withFolders,
} from '#src/cli/registry-command.ts';
import type { Screen } from '#src/cli/screen.ts';
import { ADDRESS_HEAD, addressJson, addressLayout, addressRow, tenantIn } from '#src/cli/tenant-commands.ts';
import type { Output } from '#src/cli/terminal.ts';
import { AddressAdmin } from '#src/driver/address-admin.ts';
import { readAddresses, readTenantOverview } from '#src/driver/tenant-overview.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { OptionsOf } from '#src/lib/go-flags.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { containerOf } from '#src/tenant/held-address.ts';
import { assertTenantName } from '#src/tenant/tenant-name.ts';

const FLAGS = {
  json: { kind: 'bool', default: false, environment: false, description: 'print JSON (ls)' },
  force: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'also what a host that is alive has (rm, free)',
  },
  to: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'the `host` that may take the address, by name or identity (move)',
  },
  cancel: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'no host may take it any more (move)',
  },
} as const;

const SUBCOMMANDS: Readonly<Record<string, Subcommand>> = {
  ls: { takes: '[NETWORK]', about: 'addresses with state, container, host and MAC' },
  keep: {
    takes: 'NETWORK IP',
    about: 'the address stays when its container is gone: nobody gets it who does not ask for it',
  },
  unkeep: { takes: 'NETWORK IP', about: 'it goes as others do' },
  move: {
    takes: 'NETWORK IP',
    about: 'let the host of --to take an address that is in use, by "docker run --ip" there',
  },
  rm: { takes: 'NETWORK IP', about: 'remove the record of an address that no container has any more' },
  free: {
    takes: 'HOST',
    about: 'give back all that a host has which is gone for good; HOST is its name or identity',
  },
};

type Options = OptionsOf<typeof FLAGS>;

export const ADDRESS = registryCommand({
  title: 'weft address',
  about: "the addresses of Docker's networks, on all hosts",
  subcommands: SUBCOMMANDS,
  flags: FLAGS,
  run,
});

function run(
  { command, words, options }: RegistryCall<Options>,
  context: RegistryCommandContext,
): Promise<number> | undefined {
  const act = addressActions[command];
  if (act === undefined) return undefined;
  return withFolders(options, context, (folders, signal) =>
    act(folders, { words, options, output: context.output, screen: context.screen }, signal),
  );
}

export interface AddressCall {
  readonly words: readonly string[];
  readonly options: Options;
  readonly output: Output;
  readonly screen: Pick<Screen, 'width'>;
}

/** The commands by name, over the records of any registry. */
export const addressActions: Readonly<
  Record<string, (folders: RecordFolders, call: AddressCall, signal: AbortSignal) => Promise<number>>
> = {
  async ls(folders, { words, options, output, screen }, signal) {
    if (words.length > 1) takeWords(words, 1, 'weft address ls [NETWORK]');
    const overview = await readTenantOverview(folders, signal);
    const names = words.length === 0 ? [...overview.tenants.keys()] : words;
    for (const name of words) tenantIn(overview, name);
    const all = await Promise.all(
      names.map(async (network) => ({ network, ...(await readAddresses(folders, network, signal)) })),
    );
    if (options.json) {
      const values = all.flatMap(({ network, addresses }) =>
        addresses.map((address) => ({ network, ...addressJson(address, overview) })),
      );
      output.print(JSON.stringify(values, undefined, 2));
      return 0;
    }
    const rows = all.flatMap(({ network, addresses }) =>
      addresses.map((address) => [network, ...addressRow(address, overview)]),
    );
    if (rows.length === 0) output.print('no addresses');
    else {
      const head = ['NETWORK', ...ADDRESS_HEAD];
      for (const line of formatTable([head, ...rows], addressLayout(head, screen.width))) output.print(line);
    }
    for (const { network, refused } of all)
      for (const { stored, reason } of refused)
        output.complain(`${stored.name} of network ${network} can't be read: ${reason}`);
    return 0;
  },

  async keep(folders, { words, output }, signal) {
    const { network, ip } = readPlace(words, 'keep');
    await adminOf(folders).setKeep(network, ip, true, signal);
    output.print(`${formatIp(ip)} of network ${network} is kept when its container is gone`);
    return 0;
  },

  async unkeep(folders, { words, output }, signal) {
    const { network, ip } = readPlace(words, 'unkeep');
    const { state } = await adminOf(folders).setKeep(network, ip, false, signal);
    output.print(`${formatIp(ip)} of network ${network} is no longer kept; it is ${state}`);
    return 0;
  },

  async move(folders, { words, options, output }, signal) {
    const { network, ip } = readPlace(words, 'move');
    const { to: host, cancel } = options;
    if ((host === '') !== cancel)
      throw new WeftError('usage', '"weft address move NETWORK IP" takes either --to HOST or --cancel');
    const what = `${formatIp(ip)} of network ${network}`;
    if (cancel) {
      await adminOf(folders).cancelHandOver(network, ip, signal);
      output.print(`no host may take ${what}`);
      return 0;
    }
    const { to, hostName = to, container } = await adminOf(folders).handOver(network, ip, host, signal);
    const holder = container === undefined ? 'its container' : `container ${container}`;
    output.print(`host ${hostName} may take ${what}: docker run --network ${network} --ip ${formatIp(ip)} …`);
    output.print(`${holder} has it until a container runs with it there`);
    return 0;
  },

  async rm(folders, { words, options, output }, signal) {
    const { network, ip } = readPlace(words, 'rm');
    const record = await adminOf(folders).remove(network, ip, options, signal);
    output.print(`removed ${formatIp(ip)} of network ${network}; it was ${record?.state ?? 'not readable'}`);
    return 0;
  },

  async free(folders, { words, options, output }, signal) {
    const [host = ''] = takeWords(words, 1, 'weft address free HOST');
    const { id, hostName, addresses, isForgotten } = await adminOf(folders).freeHost(host, options, signal);
    for (const address of addresses) {
      const container = containerOf(address);
      const whose = container === undefined ? '' : `, of container ${container}`;
      output.print(`freed ${formatIp(address.ip)} of network ${address.tenant}${whose}`);
    }
    const title = hostName === undefined ? id : `${hostName} (${id})`;
    if (addresses.length === 0) output.print(`host ${title} has no address`);
    if (isForgotten) output.print(`host ${title} is forgotten; it may return`);
    return 0;
  },
};

function readPlace(words: readonly string[], command: string): { network: string; ip: Ip } {
  const [network = '', address = ''] = takeWords(words, 2, `weft address ${command} NETWORK IP`);
  assertTenantName(network);
  const ip = parseIp(address);
  if (ip === undefined) throw new WeftError('usage', `${address} is not an IP address`);
  return { network, ip };
}

const adminOf = (folders: RecordFolders): AddressAdmin => new AddressAdmin({ folders, clock: systemClock });
