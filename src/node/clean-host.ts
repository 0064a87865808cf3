import { readSubnetFile } from '#src/docker/subnet-file.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { AgentComponents } from '#src/node/agent.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { Memory, socketPath } from '#src/node/remembered.ts';
import { askNode } from '#src/observe/local-api.ts';
import { Firewall } from '#src/reconcile/rules/firewall.ts';
import { type Route, RTPROT_WEFT } from '#src/state/object.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';

/** Devices of flannel's vxlan backend, whatever the VNI. */
const OUR_DEVICE = /^flannel\.\d+$/;

/**
 * Takes away all that flanneld made on this host: devices with everything on them, routes of ours over other devices,
 * firewall rules, subnet.env, what is remembered of peers. The node's identity and its lease stay; `weft release` gives
 * that back. Returns what was done, in words. Throws WeftError `running` while a flanneld would only put it back.
 */
export async function cleanHost(
  components: AgentComponents,
  options: FlanneldOptions,
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
  const operations = await operationsOf(kernel);
  const done: string[] = [];
  for (const result of await kernel.apply(operations)) {
    if (result.done) done.push(commandOf(result.operation));
    else log.warning(`Could not run "${commandOf(result.operation)}": ${result.error.message}`);
  }
  const { network, subnet } = previous;
  const overlays = network && subnet ? { v4: { network, subnet } } : undefined;
  const firewall = new Firewall({ commands, files, ruleset, log }, { mode: 'auto' });
  for (const rule of await firewall.removeAll(overlays, signal)) done.push(rule);
  const memory = new Memory({ files, log }, options.stateDir, options.etcdPrefix);
  for (const path of [options.subnetFile, memory.path]) {
    if ((await files.read(path)) === undefined) continue;
    await files.remove(path);
    done.push(`rm ${path}`);
  }
  return done;
}

async function operationsOf(kernel: AgentComponents['kernel']): Promise<Operation[]> {
  const routes = await kernel.dump({ kinds: ['route'], protocol: RTPROT_WEFT });
  const devices = (await kernel.links()).filter(
    ({ name, type }) => type === 'vxlan' && OUR_DEVICE.test(name),
  );
  return [
    ...routes.map((object): Operation => ({ verb: 'remove', object: object as Route })),
    ...devices.map(({ name }): Operation => ({ verb: 'remove', object: { kind: 'link', name } })),
  ];
}
