import type { NetworkTrace } from '#src/backend/backend.ts';
import { leftovers } from '#src/backend/catalogue.ts';
import { readSubnetFile } from '#src/docker/subnet-file.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Prefix4 } from '#src/lib/ip.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import type { AgentComponents } from '#src/node/agent.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { Memory, socketPath } from '#src/node/remembered.ts';
import { readHostFacts } from '#src/node/underlay.ts';
import { askNode } from '#src/observe/local-api.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';

/**
 * Removes what flanneld made on this host for one network, which `--subnet-file` and `--etcd-prefix` name, or with `all`
 * for every network: devices with everything on them, routes of ours over other devices. Firewall rules, subnet.env and
 * what is remembered of peers are removed for the one network. The node's identity and its lease stay; `weft release`
 * gives the lease back. Returns what was done, in words. Throws WeftError `running` while a flanneld would only put it back.
 */
export async function cleanHost(
  components: AgentComponents,
  options: FlanneldOptions & { readonly all: boolean },
  signal: AbortSignal,
): Promise<string[]> {
  const { kernel, files, commands, ruleset, createLogger } = components;
  const log = createLogger('cleanup');
  if ((await askNode(socketPath(options.stateDir, options.etcdPrefix))) !== undefined) {
    throw new WeftError('running', 'flanneld runs on this host, and would repair all that is cleaned up', {
      remedy: 'stop it first: systemctl stop flanneld',
    });
  }
  const previous = await readSubnetFile(files, options.subnetFile);
  const memory = new Memory({ files, log }, options.stateDir, options.etcdPrefix);
  const found = await readHostFacts(kernel);
  const trace = options.all ? 'all' : traceOf(previous.network, (await memory.recall())?.config);
  const objects = trace === undefined ? [] : leftovers(found, trace);
  const operations = objects.map((object): Operation => ({ verb: 'remove', object }));
  const done: string[] = [];
  for (const result of await kernel.apply(operations)) {
    if (result.done) done.push(commandOf(result.operation));
    else log.warning(`Could not run "${commandOf(result.operation)}": ${result.error.message}`);
  }
  const { network, subnet } = previous;
  const overlays = network && subnet ? { v4: { network, subnet } } : undefined;
  const firewall = new Firewall({ commands, files, ruleset, log }, { mode: 'auto' });
  for (const rule of await firewall.removeAll(overlays, signal)) done.push(rule);
  for (const path of [options.subnetFile, memory.path]) {
    if ((await files.read(path)) === undefined) continue;
    await files.remove(path);
    done.push(`rm ${path}`);
  }
  return done;
}

/** What is known of the network: subnet.env names it, and the remembered config names its backend's options as well. */
function traceOf(network: Prefix4 | undefined, config: string | undefined): NetworkTrace | undefined {
  const remembered = config === undefined ? undefined : parsed(config);
  const v4 = network ?? remembered?.network;
  if (v4 === undefined) return undefined;
  return { network: { v4 }, ...(remembered !== undefined && { options: remembered.backend.options }) };
}

function parsed(config: string): NetworkConfig | undefined {
  try {
    return parseNetworkConfig(config);
  } catch {
    return undefined;
  }
}
