import assert from 'node:assert/strict';
import { patience } from '#src/sys/until.ts';

const PATIENCE_MS = 10_000 * patience();
const INTERVAL_MS = 5;

/**
 * Waits until devices have their carrier, and with it their queue. The kernel notes a carrier by and by (net/core/link_watch.c),
 * and until then it drops what is sent, and a bridge forwards nothing to such a port. `run`: a command in their namespace.
 */
export function untilCarrier(run: (command: string) => string, ...devices: readonly string[]): void {
  const lacking = (): string[] => {
    const links = JSON.parse(run('ip -j link show')) as { ifname?: string; operstate?: string }[];
    const up = links.filter(({ operstate }) => operstate === 'UP').map(({ ifname }) => ifname);
    return devices.filter((device) => !up.includes(device));
  };
  const began = performance.now();
  for (let lack = lacking(); lack.length > 0; lack = lacking()) {
    assert.ok(performance.now() - began < PATIENCE_MS, `no carrier of ${lack.join()}`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, INTERVAL_MS);
  }
}
