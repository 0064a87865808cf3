import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { HealthServer, type Readiness } from '#src/observe/health-server.ts';
import { LocalApi, type LocalApiComponents } from '#src/observe/local-api.ts';

export interface ServeComponents extends LocalApiComponents {
  readonly log: Logger;
}

/**
 * Serves the local API of one network. Returns how to stop. Without a folder that can be written,
 * the network runs anyway, and `weft status` gets no answer.
 */
export async function serveLocally(
  { log, ...components }: ServeComponents,
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
export async function serveDriver(components: ServeComponents, socket: string): Promise<() => Promise<void>> {
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
