import { bookPath, EndpointBook } from '#src/driver/endpoint-book.ts';
import { moveBookPath } from '#src/driver/moves/move-book.ts';
import { PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { tenantRules } from '#src/node/tenant-rules.ts';
import { type NetworkNamespaces, systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { removeDeadSocket } from '#src/sys/unix-http-server.ts';
import { containerOf } from '#src/tenant/held-address.ts';

export interface CleanTenantsComponents
  extends Pick<HostComponents, 'files' | 'commands' | 'ruleset' | 'watchRules' | 'clock' | 'createLogger'> {
  /** Default: the machine's. */
  readonly namespaces?: NetworkNamespaces;
}

/**
 * Removes what Docker's driver made on this host: the tenants' network namespace with their devices, their rules, the books,
 * and the driver's socket unless somebody serves it. Containers that are attached are cut off; they are named in a
 * warning. Records in the registry stay: `weft address free` gives addresses back. Returns what was done, in words.
 */
export async function cleanTenants(
  components: CleanTenantsComponents,
  options: FlanneldOptions,
  signal: AbortSignal,
): Promise<string[]> {
  const { files, createLogger, namespaces = systemNetworkNamespaces } = components;
  const log = createLogger('cleanup');
  const done: string[] = [];
  const path = bookPath(options.stateDir);
  const attached = await attachedContainers(components, path);
  if (attached.length > 0)
    log.warning(
      `Containers are attached to Docker's networks, and are cut off until they start again: ${attached.join(', ')}`,
    );
  const isThere = await namespaces.isThere(TENANT_NAMESPACE);
  const attempt = async (what: string, work: () => Promise<readonly string[]>): Promise<void> => {
    try {
      done.push(...(await work()));
    } catch (error) {
      log.warning(`Could not remove ${what}: ${messageOf(error)}`);
    }
  };
  await attempt("the rules of tenants' tunnels", () =>
    tenantRules(components, options).removeTunnels(signal),
  );
  await attempt(`the network namespace ${TENANT_NAMESPACE}`, async () => {
    if (!isThere) return [];
    await namespaces.remove(TENANT_NAMESPACE);
    return [`ip netns del ${TENANT_NAMESPACE}`];
  });
  for (const book of [path, moveBookPath(options.stateDir)]) {
    await attempt(book, async () => {
      if ((await files.read(book)) === undefined) return [];
      await files.remove(book);
      return [`rm ${book}`];
    });
  }
  await attempt(PLUGIN_SOCKET, async () =>
    (await removeDeadSocket(PLUGIN_SOCKET)) ? [`rm ${PLUGIN_SOCKET}`] : [],
  );
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
