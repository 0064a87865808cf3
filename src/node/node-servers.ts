import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { HealthServer, type Readiness } from '#src/observe/health-server.ts';
import { LocalApi } from '#src/observe/local-api.ts';
import type { HostStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';

export interface LocalApiComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly log: Logger;
  readonly status: () => HostStatus;
}

/**
 * Serves `weft status` for one network. Returns how to stop. Without a folder that can be written,
 * the network runs anyway, and `weft status` gets no answer.
 */
export async function serveLocally(
  { log, ...components }: LocalApiComponents,
  socket: string,
): Promise<() => Promise<void>> {
  const api = new LocalApi(components, socket);
  try {
    await api.start();
    return () => api.stop();
  } catch (error) {
    if (!(error instanceof WeftError) || error.code !== 'local-api') throw error;
    log.warning(messageOf(error));
    return async () => {};
  }
}

/**
 * Serves what Docker's driver does, likewise. A second flanneld on this host may serve networks all the same: its driver says
 * what it lacks.
 */
export async function serveDriverStatus(
  components: LocalApiComponents,
  socket: string,
): Promise<() => Promise<void>> {
  try {
    return await serveLocally(components, socket);
  } catch (error) {
    components.log.warning(messageOf(error));
    return async () => {};
  }
}

/** Serves health and metrics of the whole daemon, where the options have a port for it. Returns how to stop. */
export async function serveHealth(
  { healthzIp, healthzPort }: FlanneldOptions,
  answers: { readonly readiness: () => Readiness; readonly metrics: () => Promise<string> },
): Promise<() => Promise<void>> {
  if (healthzPort <= 0) return async () => {};
  const server = new HealthServer(answers, { address: healthzIp, port: healthzPort });
  await server.start();
  return () => server.stop();
}
