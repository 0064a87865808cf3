import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';

const owners = new AsyncLocalStorage<ConnectingSockets>();
let isSubscribed = false;

/**
 * TCP connections that other code begins, and gives nobody a handle of before they are there: gRPC's. `end` destroys those that
 * still connect. Otherwise the kernel tries for two minutes, and the process does not end before.
 */
export class ConnectingSockets {
  readonly #sockets = new Set<Socket>();
  #hasEnded = false;

  constructor() {
    if (isSubscribed) return;
    isSubscribed = true;
    subscribe('net.client.socket', (message) => {
      const owner = owners.getStore();
      if (owner !== undefined) owner.#add((message as { readonly socket: Socket }).socket);
    });
  }

  /** Does `work`. What it begins to connect, at once or later, belongs to this. */
  run<T>(work: () => T): T {
    return owners.run(this, work);
  }

  end(): void {
    this.#hasEnded = true;
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #add(socket: Socket): void {
    // Node connects it only after this call, and that would undo a destroy.
    if (this.#hasEnded) process.nextTick(() => socket.destroy());
    this.#sockets.add(socket);
    const forget = (): void => void this.#sockets.delete(socket);
    socket.once('connect', forget);
    socket.once('close', forget);
  }
}
