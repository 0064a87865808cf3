import { journalPath } from '#src/driver/book-journal.ts';
import { bookPath, EndpointBook } from '#src/driver/endpoint-book.ts';
import { moveBookPath } from '#src/driver/moves/move-book.ts';
import { PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { tenantRules } from '#src/node/tenant-rules.ts';
import { type NetworkNamespaces, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { isDeadSocket, removeDeadSocket } from '#src/sys/unix-http-server.ts';
import { containerOf } from '#src/tenant/held-address.ts';

export interface CleanTenantsComponents
  extends Pick<HostComponents, 'files' | 'commands' | 'ruleset' | 'watchRules' | 'clock' | 'createLogger'> {
  /** Default: the machine's. */
  readonly namespaces?: NetworkNamespaces;
}

/** One thing that Docker's driver may have left on this host. */
export interface TenantLeftover {
  /** Its name in a message. */
  readonly what: string;
  /** The commands that remove it; none where there is nothing. */
  readonly find: () => Promise<readonly string[]>;
  readonly remove: () => Promise<unknown>;
}

/** The tenants' rules, their network namespace with its devices, the books, and the driver's socket unless somebody serves it. */
export function tenantLeftovers(
  components: CleanTenantsComponents,
  options: FlanneldOptions,
  signal: AbortSignal,
): TenantLeftover[] {
  const { files, namespaces = systemNetworkNamespaces } = components;
  const rules = tenantRules(components, options);
  const when = async (isThere: Promise<boolean>, command: string): Promise<string[]> =>
    (await isThere) ? [command] : [];
  const file = (path: string): TenantLeftover => ({
    what: path,
    find: () =>
      when(
        files.read(path).then((text) => text !== undefined),
        `rm ${path}`,
      ),
    remove: () => files.remove(path),
  });
  return [
    {
      what: "the rules of tenants' tunnels",
      find: () => rules.tunnelsRemoval(),
      remove: () => rules.removeTunnels(signal),
    },
    {
      what: `the network namespace ${TENANT_NAMESPACE}`,
      find: () => when(namespaces.isThere(TENANT_NAMESPACE), `ip netns del ${TENANT_NAMESPACE}`),
      remove: () => namespaces.remove(TENANT_NAMESPACE),
    },
    file(bookPath(options.stateDir)),
    file(journalPath(bookPath(options.stateDir))),
    file(moveBookPath(options.stateDir)),
    {
      what: PLUGIN_SOCKET,
      find: () => when(isDeadSocket(PLUGIN_SOCKET), `rm ${PLUGIN_SOCKET}`),
      remove: () => removeDeadSocket(PLUGIN_SOCKET),
    },
  ];
}

/**
 * Removes what Docker's driver made on this host, {@link tenantLeftovers}. Containers that are attached are cut off; they are
 * named in a warning. Records in the registry stay: `weft address free` gives addresses back. Returns what was done, in
 * words.
 */
export async function cleanTenants(
  components: CleanTenantsComponents,
  options: FlanneldOptions,
  signal: AbortSignal,
): Promise<string[]> {
  const log = components.createLogger('cleanup');
  const done: string[] = [];
  const attached = await attachedContainers(components, bookPath(options.stateDir));
  if (attached.length > 0)
    log.warning(
      `Containers are attached to Docker's networks, and are cut off until they start again: ${attached.join(', ')}`,
    );
  for (const { what, find, remove } of tenantLeftovers(components, options, signal)) {
    try {
      const commands = await find();
      if (commands.length === 0) continue;
      await remove();
      done.push(...commands);
    } catch (error) {
      log.warning(`Could not remove ${what}: ${messageOf(error)}`);
    }
  }
  return done;
}

/** By the book. One that can't be read says nothing. */
async function attachedContainers(
  components: Pick<CleanTenantsComponents, 'files'>,
  path: string,
): Promise<string[]> {
  const book = await EndpointBook.open(components, path).catch(() => undefined);
  const endpoints = Object.entries(book?.state.endpoints ?? {});
  return endpoints.flatMap(([id, { names, container = id, tenant, sandbox }]) =>
    sandbox === undefined ? [] : `${containerOf({ names, container })} (${tenant})`,
  );
}
