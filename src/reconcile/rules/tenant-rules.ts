import { PORT_TABLE, type PortIdentity, portElements } from '#src/firewall/tenant-ports.ts';
import { type TunnelPeers, tunnelElements, tunnelTable } from '#src/firewall/tenant-tunnels.ts';
import type { HostEvents } from '#src/lib/host-events.ts';
import type { Logger } from '#src/lib/log.ts';
import { KeptTable, type TableChange, type TableHost } from '#src/reconcile/rules/kept-table.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface TenantRulesComponents {
  /** The namespace with the tenants' bridges. It has to be there before the start. */
  readonly inside: TableHost;
  /** The host's own namespace, whose devices carry the tunnels. */
  readonly host: TableHost;
  readonly clock: Clock;
  readonly log: Logger;
  /** Takes repairs. Default: nobody. */
  readonly events?: HostEvents;
}

export interface TenantRulesOptions {
  /** The UDP port of the tenants' tunnels. */
  readonly port: number;
  /** Milliseconds between looks that nothing asked for. */
  readonly intervalMs: number;
}

/**
 * The packet filter of the tenants: a container sends under no name but its own, and no frame comes into a tenant from
 * anybody but the hosts. What is wanted may be set before the start, and at any time after it.
 *
 * An endpoint's port is set before its device is in the bridge, and removed after it has left: nothing passes from a port
 * that is not set. At a restart all ports and hosts are set before the start: that takes away what is no longer wanted, in one
 * transaction, and the rules in force are never gone.
 */
export class TenantRules {
  readonly #ports: KeptTable;
  readonly #tunnels: KeptTable;

  constructor({ inside, host, ...shared }: TenantRulesComponents, options: TenantRulesOptions) {
    const { port, intervalMs } = options;
    this.#ports = new KeptTable(
      { ...inside, ...shared },
      { table: PORT_TABLE, title: "rules of tenants' containers", intervalMs, isOptional: true },
    );
    this.#tunnels = new KeptTable(
      { ...host, ...shared },
      { table: tunnelTable(port), title: "rules of tenants' tunnels", intervalMs },
    );
  }

  /** Why tenants are not guarded, as one clause. While there is one, {@link setPort} rejects. */
  get trouble(): string | undefined {
    const troubles = [this.#ports.trouble, this.#tunnels.trouble].filter((it) => it !== undefined);
    return troubles.length === 0 ? undefined : troubles.join('; ');
  }

  /**
   * The kernel has no nf_tables for bridges, so that a container may send under another's IP address. Its MAC is still
   * checked where the devices in the bridge are `locked` with a static FDB entry, as they should be in any case
   * (`bridge link set dev PORT locked on`).
   */
  get weakness(): string | undefined {
    const complaint = this.#ports.unsupported;
    return complaint && `containers of a tenant can use each other's IP addresses: ${complaint}`;
  }

  /** Repairs of what another program did to the rules. */
  get repairs(): number {
    return this.#ports.repairs + this.#tunnels.repairs;
  }

  /** Puts the rules in force and keeps them so until the signal aborts; then they stay. A failure is a {@link trouble}. */
  async start(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#ports.start(signal), this.#tunnels.start(signal)]);
  }

  /** What a start would write into the tenants' namespace, and into the host's own. Writes nothing. */
  async plan(
    signal?: AbortSignal,
  ): Promise<{ readonly inside: TableChange | undefined; readonly host: TableChange | undefined }> {
    const [inside, host] = await Promise.all([this.#ports.plan(signal), this.#tunnels.plan(signal)]);
    return { inside, host };
  }

  /**
   * What the container behind a device in a bridge may send as, from when the promise resolves. Rejects with a
   * `WeftError` while the container could not be guarded: let it not have the device then.
   */
  async setPort(device: string, identity: PortIdentity, signal?: AbortSignal): Promise<void> {
    this.#ports.set(device, portElements(device, identity));
    await Promise.all([this.#ports.flush(signal), this.#tunnels.flush(signal)]);
  }

  /** Nothing passes from the device any more. Succeeds for one that was never set. */
  async removePort(device: string, signal?: AbortSignal): Promise<void> {
    this.#ports.set(device, portElements(device, undefined));
    await this.#ports.flush(signal);
  }

  /** The hosts whose VXLAN packets are taken: all of them, at each call. */
  async setPeers(peers: TunnelPeers, signal?: AbortSignal): Promise<void> {
    this.#tunnels.set(PEERS, tunnelElements(peers));
    await this.#tunnels.flush(signal);
  }

  /** Packets dropped since the rules were made, by reason: the counters of both tables. */
  async dropped(signal?: AbortSignal): Promise<ReadonlyMap<string, number>> {
    const [ports, tunnels] = await Promise.all([this.#ports.counted(signal), this.#tunnels.counted(signal)]);
    return new Map([...ports, ...tunnels]);
  }

  /** What {@link removeTunnels} would run, in nft's words. */
  tunnelsRemoval(): Promise<string[]> {
    return this.#tunnels.removal();
  }

  /** Takes the host's own part away: the other goes with its namespace. What was done, in nft's words. */
  removeTunnels(signal?: AbortSignal): Promise<string[]> {
    return this.#tunnels.remove(signal);
  }

  /** Takes all of it away, for `weft cleanup`; what was done, in nft's words. */
  async removeAll(signal?: AbortSignal): Promise<string[]> {
    const done = await Promise.all([this.#ports.remove(signal), this.#tunnels.remove(signal)]);
    return done.flat();
  }
}

/** The one subject of the tunnels' table. */
const PEERS = 'peers';
