import { WeftError } from '#src/lib/errors.ts';

export const DOCKER_HOST = 'unix:///var/run/docker.sock';

/** The path of the socket in `unix:///PATH`, the form of Docker's own `-H`. Throws WeftError `docker-host` for all others. */
export function parseDockerHost(text: string): string {
  const [, path] = /^unix:\/\/(\/.+)$/.exec(text) ?? [];
  if (path !== undefined) return path;
  throw new WeftError('docker-host', `--docker-host=${text} is no unix socket of this host`, {
    remedy: `write unix:///PATH, such as ${DOCKER_HOST}`,
  });
}
