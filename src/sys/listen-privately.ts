import type { Server } from 'node:net';

/**
 * Listens on a unix socket that only its owner, root, may use: mode 0600 from the first moment. Node binds the socket
 * before `listen` returns (libuv's uv_pipe_bind), so that the process has the other file mode mask for this call only.
 * Rejects with node's error.
 */
export async function listenPrivately(server: Server, path: string): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once('error', reject);
  const mask = process.umask(0o177);
  try {
    server.listen(path, resolve);
  } finally {
    process.umask(mask);
  }
  try {
    await promise;
  } finally {
    server.off('error', reject);
  }
}
