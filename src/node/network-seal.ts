import type { PortSeal } from '#src/backend/backend.ts';
import { sealedTable } from '#src/firewall/sealed-port.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { KeptTable, KeptTableOptions } from '#src/reconcile/rules/kept-table.ts';

/** Makes what keeps a table of the host's packet filter. */
export type KeepTable = (
  options: Pick<KeptTableOptions, 'table' | 'title'>,
) => Pick<KeptTable, 'start' | 'remove' | 'trouble' | 'repairs'>;

/** Keeps the overlay's UDP port closed to packets that did not come out of the tunnel that encrypts them. */
export class NetworkSeal {
  readonly #keep: KeepTable;
  #kept:
    | { readonly table: ReturnType<KeepTable>; readonly text: string; readonly end: AbortController }
    | undefined;

  constructor(keep: KeepTable) {
    this.#keep = keep;
  }

  /** Why plain packets may be taken, as one clause. */
  get trouble(): string | undefined {
    return this.#kept?.table.trouble;
  }

  /** Repairs of what another program did to the table. */
  get repairs(): number {
    return this.#kept?.table.repairs ?? 0;
  }

  /**
   * Closes the port, and keeps it so until the signal aborts; then it stays closed. An open one loses the table of an earlier
   * run. Rejects with WeftError `seal` when it can not be closed: nothing must be made then that takes plain packets.
   */
  async use(seal: PortSeal | undefined, signal: AbortSignal): Promise<void> {
    const text = JSON.stringify(seal);
    if (this.#kept?.text === text) return this.#refuseOpen();
    const before = this.#kept;
    before?.end.abort();
    this.#kept = undefined;
    if (seal === undefined) return;
    const table = this.#keep({ table: sealedTable(seal), title: 'rules against plain packets' });
    // A host without nf_tables has no such table.
    if (!seal.isClosed) return void (await table.remove(signal).catch(() => []));
    const end = new AbortController();
    this.#kept = { table, text, end };
    await table.start(AbortSignal.any([signal, end.signal]));
    this.#refuseOpen();
  }

  #refuseOpen(): void {
    const { trouble } = this;
    if (trouble === undefined) return;
    throw new WeftError('seal', `plain packets of the overlay can not be kept out: ${trouble}`, {
      remedy: 'install nftables, or set "EncryptPolicy": "prefer" in the network config',
    });
  }
}
