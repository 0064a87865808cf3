import { once } from 'node:events';
import { createServer, type Server } from 'node:net';

/** Below those that the kernel gives to connections (net.ipv4.ip_local_port_range): no connection takes one meanwhile. */
const [LOWEST, HIGHEST] = [12_000, 32_000];
/** A listener on a port of this address claims it, for the life of its process. */
const CLAIMS = '127.0.0.2';
const TRIES = 200;

/**
 * A port of 127.0.0.1 without a listener, which no other test gets while this process lives: its server may come late, end and
 * come again.
 */
export async function unusedPort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries++) {
    const port = LOWEST + Math.floor(Math.random() * (HIGHEST - LOWEST));
    const claim = await listenAt(CLAIMS, port);
    if (claim === undefined) continue;
    claim.unref();
    const listener = await listenAt('127.0.0.1', port);
    await (listener ?? claim)[Symbol.asyncDispose]();
    if (listener !== undefined) return port;
  }
  throw new Error(`no port between ${LOWEST} and ${HIGHEST} is unused`);
}

/** `undefined` where somebody listens already. */
async function listenAt(host: string, port: number): Promise<Server | undefined> {
  const server = createServer().listen(port, host);
  try {
    await once(server, 'listening');
    return server;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE') return undefined;
    throw error;
  }
}
