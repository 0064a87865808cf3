import { parseDockerHost } from '#src/docker/docker-host.ts';
import { PASSED_NAME } from '#src/driver/plugin-socket.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';

export interface DockerPresenceComponents {
  readonly clock: Clock;
  readonly files: Files;
  /** Sockets that systemd has handed over, by name. */
  readonly passedSockets: ReadonlyMap<string, number>;
}

type DockerOptions = Pick<FlanneldOptions, 'dockerDriver' | 'dockerHost'>;

const LOOK_MS = 2_000;

/** Docker's driver is asked for by a flag, or by a socket that systemd has handed over. */
export const isDriverAskedFor = (
  { passedSockets }: Pick<DockerPresenceComponents, 'passedSockets'>,
  { dockerDriver }: Pick<DockerOptions, 'dockerDriver'>,
): boolean => dockerDriver === 'on' || passedSockets.has(PASSED_NAME);

/** Resolves when the driver is asked for, or there is Docker on this host. Nothing of the driver is loaded before. */
export async function untilDocker(
  components: DockerPresenceComponents,
  options: DockerOptions,
  signal: AbortSignal,
): Promise<void> {
  while (!isDriverAskedFor(components, options) && !hasDocker(components, options))
    await untilBeat(components.clock, LOOK_MS, signal);
}

/** Whether Docker's socket is on this host. */
export const hasDocker = (
  { files }: Pick<DockerPresenceComponents, 'files'>,
  { dockerHost }: Pick<DockerOptions, 'dockerHost'>,
): boolean => files.exists(parseDockerHost(dockerHost));
