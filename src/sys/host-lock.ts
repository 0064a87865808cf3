import { createServer } from 'node:net';

/** Names that one process of a network namespace can hold at a time. */
export interface HostLocks {
  /**
   * Takes the name, at most 100 bytes. Returns the function that gives it up, or `undefined` while
   * another holder has it. The kernel gives it up when the process ends, in any way.
   */
  claim(name: string): Promise<(() => Promise<void>) | undefined>;
}

/**
 * Abstract unix sockets (unix(7)): bind(2) is atomic, a name belongs to a network namespace as devices and rules do, and
 * nothing is left on disk.
 */
export const systemLocks: HostLocks = {
  async claim(name) {
    const server = createServer((socket) => socket.destroy());
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once('error', reject).listen(`\0${name}`, resolve);
    try {
      await promise;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
      throw error;
    }
    server.unref();
    return async () => {
      const closed = Promise.withResolvers<void>();
      server.close(() => closed.resolve());
      await closed.promise;
    };
  },
};
