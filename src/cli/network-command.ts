import { prepareBackend } from '#src/backend/catalogue.ts';
import { askRegistry } from '#src/cli/ask-registry.ts';
import type { Output } from '#src/cli/terminal.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { addEnvironment, type FlagTable, formatUsage, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { formatPrefix, overlaps } from '#src/lib/ip.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { namedNetwork } from '#src/node/network-id.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import type { Networks } from '#src/registry/networks.ts';
import { openNetworks } from '#src/registry/open-networks.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';

export interface NetworkCommandContext {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
}

/** The flags that name the registry: those of flanneld. */
const FLAGS = Object.fromEntries(
  Object.entries(FLANNELD_FLAGS).filter(([name]) => name.startsWith('etcd-')),
) satisfies FlagTable;

const USAGE = `weft network COMMAND [flags]: the networks below --etcd-prefix, for flanneld --watch-networks
  ls                    their names and configs
  add NAME CONFIG       write a network's config; CONFIG is its JSON, or a file's name after @
  rm NAME               remove a network's config; every host lets the network go half a minute later`;

/** `weft network WORDS`: the exit code. */
export async function networkCommand(
  words: readonly string[],
  context: NetworkCommandContext,
): Promise<number> {
  const { output, environment } = context;
  const [command = '', ...rest] = words;
  if (command === '' || /^--?h(elp)?$/.test(command)) {
    output.complain(`${USAGE}\n${formatUsage(FLAGS)}`);
    return command === '' ? 2 : 0;
  }
  const [positional, flags] = split(rest);
  const parsed = parseFlags(FLAGS, flags);
  if (parsed.outcome !== 'parsed' || parsed.rest.length > 0) {
    const problem = parsed.outcome === 'invalid' ? parsed.message : USAGE;
    output.complain(`weft network ${command}: ${problem}`);
    return parsed.outcome === 'help' ? 0 : 2;
  }
  const { given } = addEnvironment(FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = { ...optionsOf(FLANNELD_FLAGS, new Map()), ...optionsOf(FLANNELD_FLAGS, given) };
  switch (command) {
    case 'ls':
      refuseMore(positional, 0, 'ls');
      return withNetworks(options, context, (networks, signal) => list(networks, output, signal));
    case 'add': {
      refuseMore(positional, 2, 'add NAME CONFIG');
      const [name = '', config = ''] = positional;
      const text = await readConfigText(config);
      // What is wrong by itself is refused before anybody is asked.
      namedNetwork(options.etcdPrefix, name);
      const parts = { name, text, config: parseNetworkConfig(text) };
      const { devices } = prepared(parts.config);
      return withNetworks(options, context, (networks, signal) =>
        add(networks, { ...parts, devices }, output, signal),
      );
    }
    case 'rm': {
      refuseMore(positional, 1, 'rm NAME');
      const [name = ''] = positional;
      return withNetworks(options, context, (networks, signal) => remove(networks, name, output, signal));
    }
    default:
      output.complain(`weft network: there is no command ${command}\n${USAGE}`);
      return 2;
  }
}

/** Flags may stand before and after the other words. */
function split(words: readonly string[]): [positional: string[], flags: string[]] {
  const positional: string[] = [];
  const flags: string[] = [];
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? '';
    if (!word.startsWith('-')) positional.push(word);
    else if (word.includes('=')) flags.push(word);
    else flags.push(word, ...words.slice(++at, at + 1));
  }
  return [positional, flags];
}

function refuseMore(words: readonly string[], count: number, usage: string): void {
  if (words.length !== count)
    throw new WeftError('usage', `"weft network ${usage}" takes ${count} words, not ${words.length}`);
}

async function readConfigText(word: string): Promise<string> {
  if (!word.startsWith('@')) return word;
  const path = word.slice(1);
  const text = await systemFiles.read(path).catch((cause: unknown) => {
    throw new WeftError('usage', `could not read the config ${path}: ${messageOf(cause)}`, { cause });
  });
  if (text === undefined) throw new WeftError('usage', `there is no config file ${path}`);
  return text;
}

async function list(networks: Networks, output: Output, signal: AbortSignal): Promise<number> {
  for (const name of await networks.list(signal)) {
    const text = await networks.readConfig(name, signal);
    if (text !== undefined) output.print(`${name.padEnd(16)} ${describe(text)}`);
  }
  return 0;
}

function describe(text: string): string {
  try {
    const config = parseNetworkConfig(text);
    const { type, settings } = prepared(config);
    const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== false);
    return [formatPrefix(config.network), type, ...given.map(([name, value]) => `${name}=${value}`)].join(
      ' ',
    );
  } catch (error) {
    return `can't be used: ${messageOf(error)}`;
  }
}

const prepared = (config: NetworkConfig) => prepareBackend(config, { links: [], identity: '', instance: '' });

interface NewNetwork {
  readonly name: string;
  readonly text: string;
  readonly config: NetworkConfig;
  readonly devices: readonly string[];
}

/** Refuses a config that hosts could not use together with the existing networks. */
async function add(
  networks: Networks,
  { name, text, config, devices }: NewNetwork,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  for (const other of await networks.list(signal)) {
    if (other === name) continue;
    const otherText = await networks.readConfig(other, signal);
    const clash = otherText === undefined ? undefined : clashWith(config, devices, otherText);
    if (clash !== undefined) {
      throw new WeftError('network-clash', `network ${name} would clash with network ${other}: ${clash}`, {
        remedy: 'choose another Network or Backend for it',
      });
    }
  }
  const before = await networks.readConfig(name, signal);
  if (before === text) {
    output.print(`network ${name} has this config already`);
    return 0;
  }
  if (before !== undefined) {
    throw new WeftError('network-exists', `there is a network ${name}, with another config: ${before}`, {
      remedy: `remove it first ("weft network rm ${name}"), or change its config with etcdctl`,
    });
  }
  if (!(await networks.writeConfig(name, text, undefined, signal)))
    throw new WeftError('network-exists', `somebody else has just added a network ${name}`);
  output.print(`added network ${name}: ${describe(text)}`);
  return 0;
}

function clashWith(config: NetworkConfig, devices: readonly string[], otherText: string): string | undefined {
  try {
    const other = parseNetworkConfig(otherText);
    const device = prepared(other).devices.find((taken) => devices.includes(taken));
    if (device !== undefined) return `the device of both would be ${device}`;
    return overlaps(config.network, other.network)
      ? `${formatPrefix(config.network)} overlaps its ${formatPrefix(other.network)}`
      : undefined;
  } catch {
    // A network that no host can use takes nothing.
    return undefined;
  }
}

async function remove(
  networks: Networks,
  name: string,
  output: Output,
  signal: AbortSignal,
): Promise<number> {
  const text = await networks.readConfig(name, signal);
  if (text === undefined)
    throw new WeftError('no-such-network', `there is no network ${name} in ${networks.description}`);
  if (!(await networks.removeConfig(name, text, signal)))
    throw new WeftError(
      'no-such-network',
      `the config of network ${name} has just changed; look at it again`,
    );
  output.print(`removed network ${name}; its config was ${text}`);
  return 0;
}

function withNetworks(
  options: FlanneldOptions,
  { signal }: NetworkCommandContext,
  use: (networks: Networks, signal: AbortSignal) => Promise<number>,
): Promise<number> {
  return askRegistry({ signal, failure: 'no answer from the registry' }, async (logger, signal) => {
    const components = { clock: systemClock, files: systemFiles, random: systemRandom, logger };
    const networks = await openNetworks(components, registryOptions(options), signal);
    try {
      return await use(networks, signal);
    } finally {
      await networks.close();
    }
  });
}
