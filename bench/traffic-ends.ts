import { setTimeout as delay } from 'node:timers/promises';
import type { Machine } from '#src/lab/machine.ts';
import { inRepository } from './program.ts';
import { type Quantity, SAMPLE_MS } from './quantities.ts';
import type { Wire } from './wire.ts';

const SETTLE_MS = 20;
const START_MS = 30_000;

/** The two ends of a data path, and the server's address. */
export class TrafficEnds {
  readonly #client: Machine;
  readonly #server: Machine;
  readonly #address: string;
  #samples = 0;

  constructor(client: Machine, server: Machine, address: string) {
    this.#client = client;
    this.#server = server;
    this.#address = address;
  }

  /** Runs bench/traffic.ts on both ends. Resolves with the figures that they report. */
  async measure({ kind, on }: Quantity): Promise<Readonly<Record<string, number>>> {
    const traffic = (cpu: number, words: readonly string[]) => [
      ...['taskset', '-c', String(cpu), process.execPath, inRepository('bench/traffic.ts')],
      ...words,
    ];
    // A log holds one run.
    const server = await this.#server.start(`server-${++this.#samples}`, traffic(on.server, ['serve', kind]));
    await server.waitForLog(/^serving$/m);
    await delay(SETTLE_MS);
    const words = ['send', kind, this.#address, String(SAMPLE_MS)];
    const sent = await this.#client.must(traffic(on.client, words), { timeoutMs: SAMPLE_MS + START_MS });
    const code = await server.exited();
    const received = (await server.log()).trim().split('\n').at(-1) ?? '';
    if (code !== 0)
      throw new Error(`${this.#server.name}, ${kind}: the server ended with ${code}: ${received}`);
    return { ...JSON.parse(sent), ...JSON.parse(received) };
  }
}

/** One sample of a quantity between two ends, with the wire's offloads as it wants them. */
export async function measureOn(
  wire: Wire,
  ends: TrafficEnds,
  quantity: Quantity,
): Promise<Readonly<Record<string, number>>> {
  const { offload = true } = quantity;
  if (!offload) await wire.offload(false);
  const found = await ends.measure(quantity);
  if (!offload) await wire.offload(true);
  return found;
}
