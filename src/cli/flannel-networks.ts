import { prepareBackend } from '#src/backend/catalogue.ts';
import type { Output } from '#src/cli/terminal.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix, overlaps } from '#src/lib/ip.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { networksOf } from '#src/network/subnet-range.ts';
import type { Networks } from '#src/registry/networks.ts';
import { systemFiles } from '#src/sys/files.ts';

/** A config as it is given: JSON, or the name of a file after `@`. Throws WeftError `usage`. */
export async function readConfigText(word: string): Promise<string> {
  if (!word.startsWith('@')) return word;
  const path = word.slice(1);
  const text = await systemFiles.read(path).catch((cause: unknown) => {
    throw new WeftError('usage', `could not read the config ${path}: ${messageOf(cause)}`, { cause });
  });
  if (text === undefined) throw new WeftError('usage', `there is no config file ${path}`);
  return text;
}

/** Names and configs as they are stored, those that can't be read as text. */
export async function listNetworks(networks: Networks, signal: AbortSignal) {
  const found: { readonly name: string; readonly config: unknown }[] = [];
  for (const name of await networks.list(signal)) {
    const text = await networks.readConfig(name, signal);
    if (text !== undefined) found.push({ name, config: jsonIn(text) });
  }
  return found;
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** One line for each network of flannel's. */
export async function describeNetworks(networks: Networks, signal: AbortSignal): Promise<string[]> {
  const lines: string[] = [];
  for (const name of await networks.list(signal)) {
    const text = await networks.readConfig(name, signal);
    if (text !== undefined) lines.push(`${name.padEnd(16)} ${describe(text)}`);
  }
  return lines;
}

function describe(text: string): string {
  try {
    const config = parseNetworkConfig(text);
    const { type, settings } = prepared(config);
    const given = Object.entries(settings).filter(([, value]) => value !== undefined && value !== false);
    const networks = valuesOf(networksOf(config.ranges)).map(formatPrefix);
    return [...networks, type, ...given.map(([name, value]) => `${name}=${value}`)].join(' ');
  } catch (error) {
    return `can't be used: ${messageOf(error)}`;
  }
}

/** What a config means. Throws WeftError `config` or `backend` for one that no host can use. */
export const prepared = (config: NetworkConfig) =>
  prepareBackend(config, { links: [], identity: '', instance: '' });

export interface NewNetwork {
  readonly name: string;
  readonly text: string;
  readonly config: NetworkConfig;
  readonly devices: readonly string[];
}

/** Refuses a config that hosts could not use together with the existing networks: WeftError `network-clash`, `network-exists`. */
export async function addNetwork(
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
    const others = valuesOf(networksOf(other.ranges));
    for (const network of valuesOf(networksOf(config.ranges))) {
      const taken = others.find((candidate) => overlaps(network, candidate));
      if (taken !== undefined) return `${formatPrefix(network)} overlaps its ${formatPrefix(taken)}`;
    }
    return undefined;
  } catch {
    // A network that no host can use takes nothing.
    return undefined;
  }
}

/** Throws WeftError `no-such-network`. */
export async function removeNetwork(
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
