import { fastPathScope } from '#src/fast-path/fast-path-objects.ts';
import type { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { Scope } from '#src/state/scope.ts';

export interface ClaimedDevicesComponents {
  readonly users: Pick<FastPathUsers, 'devicesOf' | 'only'>;
  readonly reconciler: Pick<Reconciler, 'check'>;
}

/** The VXLAN devices whose fast paths are one network's: its own now, and those of before, in an earlier run, too, that are still to be removed. */
export class ClaimedDevices {
  readonly #components: ClaimedDevicesComponents;
  readonly #network: string;
  readonly #devices = new Set<string>();
  #scopes: readonly Scope[] = [];

  /** `network`: its prefix. */
  constructor(components: ClaimedDevicesComponents, network: string) {
    this.#components = components;
    this.#network = network;
  }

  get scopes(): readonly Scope[] {
    return this.#scopes;
  }

  /**
   * `own`: the device that the network has now, if it has one. A network that never had a fast path, and is not asked for one, does not
   * look for what is left of it.
   */
  async claim(own: string | undefined, isAsked: boolean): Promise<void> {
    const earlier = await this.#components.users.devicesOf(this.#network);
    if (!isAsked && earlier === undefined) return;
    const all = [...(earlier ?? []), ...(own === undefined ? [] : [own])];
    if (all.every((device) => this.#devices.has(device))) return;
    for (const device of all) this.#devices.add(device);
    this.#scopes = Array.from(this.#devices, fastPathScope);
    this.#components.reconciler.check();
  }

  /** What was made for other devices has gone. They may be another network's from now on. */
  async keepOnly(device: string): Promise<void> {
    if (this.#devices.size === 1) return;
    await this.#components.users.only(this.#network, device);
    this.#devices.clear();
    this.#devices.add(device);
    this.#scopes = [fastPathScope(device)];
  }
}
