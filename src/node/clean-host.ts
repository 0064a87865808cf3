import { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { fastPathNote } from '#src/node/network-id.ts';
import { type CleanRequest, findNetworkLeftovers } from '#src/node/network-leftovers.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { Actuators } from '#src/reconcile/actuators.ts';
import { commandOf } from '#src/state/operation.ts';

/**
 * Removes what flanneld made on this host for one network, or for all: devices with everything on them, routes over other
 * devices, firewall rules, subnet.env, and what is remembered of peers; with all, what Docker's driver made too. The node's
 * identity and its lease stay; `weft release` gives the lease back. Returns what was done, in words. Throws WeftError
 * `running` while a flanneld serves a network that is meant, because it would repair everything.
 */
export async function cleanHost(
  components: HostComponents,
  request: CleanRequest,
  signal: AbortSignal,
): Promise<string[]> {
  const { kernel, actuators = [], files, createLogger } = components;
  const log = createLogger('cleanup');
  const found = await findNetworkLeftovers(components, request);
  const done: string[] = [];
  for (const result of await new Actuators([kernel, ...actuators]).apply(found.operations)) {
    if (result.done) done.push(commandOf(result.operation));
    else log.warning(`Could not run "${commandOf(result.operation)}": ${result.error.message}`);
  }
  const users = new FastPathUsers(files, fastPathNote(request.options));
  const putBack = await users.leave(found.fastPaths);
  if (putBack !== undefined) done.push(putBack);
  for (const { firewall, bare } of found.rules) done.push(...(await firewall.removeAll(bare, signal)));
  for (const table of found.tables) {
    const command = ['nft', 'delete', 'table', ...table.split(' ')] as const;
    const { code, stderr } = await components.commands.run(command, { signal });
    if (code === 0) done.push(command.join(' '));
    else log.warning(`Could not run "${command.join(' ')}": ${stderr.trim()}`);
  }
  if (request.what === 'all') {
    const { cleanTenants } = await import('#src/node/clean-tenants.ts');
    done.push(...(await cleanTenants(components, request.options, signal)));
  }
  for (const path of found.files) {
    await files.remove(path);
    done.push(`rm ${path}`);
  }
  return done;
}
