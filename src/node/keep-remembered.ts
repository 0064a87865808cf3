import type { Membership } from '#src/membership/membership.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import { untilBeat } from '#src/sys/beat.ts';

/** It is written at most this often. */
const EVERY_MS = 30_000;

/** The network, as it is to be remembered. */
export interface RememberedNetwork {
  readonly membership: Pick<Membership, 'own' | 'counts' | 'remainingMs'>;
  readonly dataPath: Pick<DataPath, 'table'>;
  /** The config, as the registry has it. */
  readonly configText: () => string;
}

/** Writes down what a start without the registry needs. */
export class RememberedKeeper {
  readonly #parts: Pick<NetworkParts, 'memory' | 'host' | 'names'>;
  readonly #network: RememberedNetwork;
  #written = '';

  constructor(parts: Pick<NetworkParts, 'memory' | 'host' | 'names'>, network: RememberedNetwork) {
    this.#parts = parts;
    this.#network = network;
  }

  /** Whenever there is something else to remember, until the signal aborts. */
  async run(signal: AbortSignal): Promise<never> {
    for (;;) {
      if (this.#version !== this.#written) await this.write();
      await untilBeat(this.#parts.host.clock, EVERY_MS, signal);
    }
  }

  /** Another text whenever there is something else to remember. */
  get #version(): string {
    const { membership, dataPath, configText } = this.#network;
    const { name, value } = membership.own.record;
    // A renewal moves the end of our lease.
    const { renewals } = membership.counts;
    return `${dataPath.table.version} ${name} ${value} ${renewals} ${configText()}`;
  }

  async write(): Promise<void> {
    const { memory, host, names } = this.#parts;
    const { membership, dataPath, configText } = this.#network;
    const { name, value } = membership.own.record;
    this.#written = this.#version;
    const { remainingMs } = membership;
    const heldUntil = remainingMs === undefined ? undefined : host.clock.now() + remainingMs;
    await memory.remember({
      at: host.clock.now(),
      config: configText(),
      ...(names.instance !== undefined && { instance: names.instance }),
      own: { name, value },
      ...(heldUntil !== undefined && { heldUntil }),
      peers: [...dataPath.table.records()],
    });
  }
}
