import { connect, createServer, type Socket } from 'node:net';
import type { Host } from '#src/lab/host.ts';
import type { Clock } from '#src/sys/clock.ts';
import { startTimer } from '#src/sys/timer.ts';
import { until } from '#src/sys/until.ts';

/** The relay's port, on etcd's host. */
const RELAY_PORT = 12379;
const TABLE = 'weft_lab_slow';

export interface RelayOptions {
  readonly listen: { readonly host: string; readonly port: number };
  readonly to: { readonly host: string; readonly port: number };
  readonly delayMs: number;
  /** Ends the relay. */
  readonly signal: AbortSignal;
}

/**
 * Passes TCP connections on and delays every byte of the answer by `delayMs`: a slow server, for
 * kernels without tc's netem. Runs until the signal aborts.
 */
export async function runRelay(
  { clock }: { readonly clock: Clock },
  { listen, to, delayMs, signal }: RelayOptions,
): Promise<void> {
  const late = (action: () => void): void => void startTimer(clock, delayMs, action);
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (client) => {
    const upstream = connect({ ...to, allowHalfOpen: true });
    const pair = [client, upstream];
    for (const socket of pair) {
      open.add(socket);
      socket.setNoDelay(true);
      socket.on('error', () => {
        for (const it of pair) it.destroy();
      });
      socket.on('close', () => open.delete(socket));
    }
    client.pipe(upstream);
    upstream.on('data', (chunk) => late(() => client.writable && client.write(chunk)));
    upstream.on('end', () => late(() => client.end()));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    signal.addEventListener('abort', () => {
      for (const socket of open) socket.destroy();
      server.close(() => resolve());
    });
    server.listen(listen.port, listen.host);
  });
}

/**
 * Puts the relay before a port of the host. New connections from outside go through it. Existing connections are
 * reset, because they would bypass it.
 */
export async function startRelay(
  host: Host,
  { port, delayMs, relay }: { port: number; delayMs: number; relay: readonly string[] },
): Promise<void> {
  const to = `${host.address}:${port}`;
  const listen = `${host.address}:${RELAY_PORT}`;
  await host.start('relay', [...relay, `--listen=${listen}`, `--to=${to}`, `--delay-ms=${delayMs}`]);
  const listening = ['ss', '-Hltn', 'sport', '=', `:${RELAY_PORT}`];
  await until(async () => (await host.must(listening)) !== '', {
    what: 'listening relay',
    signal: host.signal,
  });
  const rules = `table ip ${TABLE} {
    chain turned { type nat hook prerouting priority dstnat; iifname != "lo" tcp dport ${port} redirect to :${RELAY_PORT}; }
    chain refused { type filter hook input priority filter; iifname != "lo" tcp dport ${port} reject with tcp reset; }
  }`;
  await host.must(['nft', '-f', '-'], { stdin: rules });
}

/** Removes the relay and resets its connections. */
export async function stopRelay(host: Host): Promise<void> {
  await host.must(['nft', 'delete', 'table', 'ip', TABLE]);
  await (await host.daemon('relay'))?.stop();
}
