import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { socketPath } from '#src/node/remembered.ts';
import { HealthServer } from '#src/observe/health-server.ts';
import { LocalApi } from '#src/observe/local-api.ts';
import { formatMetrics } from '#src/observe/metrics.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';

export interface NodeServersComponents {
  readonly files: Files;
  readonly folders: Folders;
  readonly log: Logger;
}

/** What the node can be asked. */
export interface Answers {
  /** Why packets don't flow as they should; nothing when they do. */
  readonly troubles: () => string[];
  readonly status: () => NodeStatus;
}

/** Serves `weft status` and, where the options have a port for it, health and metrics. Returns how to stop. */
export async function startServers(
  components: NodeServersComponents,
  options: FlanneldOptions,
  answers: Answers,
): Promise<() => Promise<void>> {
  const api = await serveLocally(components, options, answers);
  const health = await serveHealth(options, answers);
  return async () => {
    await health?.stop();
    await api?.stop();
  };
}

/** Without a folder that can be written the node runs all the same, only `weft status` has nobody to ask. */
async function serveLocally(
  { files, folders, log }: NodeServersComponents,
  { stateDir, etcdPrefix }: FlanneldOptions,
  { status }: Answers,
): Promise<LocalApi | undefined> {
  const api = new LocalApi({ files, folders, status }, socketPath(stateDir, etcdPrefix));
  try {
    await api.start();
    return api;
  } catch (error) {
    if (!(error instanceof WeftError) || error.code !== 'local-api') throw error;
    log.warning(messageOf(error));
    return undefined;
  }
}

async function serveHealth(
  { healthzIp, healthzPort }: FlanneldOptions,
  { troubles, status }: Answers,
): Promise<HealthServer | undefined> {
  if (healthzPort <= 0) return undefined;
  const readiness = () => {
    const reasons = troubles();
    return { ready: reasons.length === 0, reasons };
  };
  const metrics = () => formatMetrics(status());
  const server = new HealthServer({ readiness, metrics }, { address: healthzIp, port: healthzPort });
  await server.start();
  return server;
}
