import type { ContainerEnds } from '#src/driver/container-ends.ts';
import type { BookedEndpoint, EndpointBook } from '#src/driver/endpoint-book.ts';
import { localEndpoint } from '#src/driver/local-endpoint.ts';
import type { LocalEndpoint } from '#src/driver/segment.ts';
import { messageOf } from '#src/lib/errors.ts';
import { InOrder } from '#src/lib/in-order.ts';
import { isIpv4, prefixOf } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { containerEndName } from '#src/tenant/segment-objects.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

export interface EndKeeperComponents {
  readonly ends: Pick<ContainerEnds, 'isThere' | 'nameOf' | 'namesIn' | 'mend'>;
  readonly book: EndpointBook;
  readonly log: Logger;
}

export interface EndKeeperOptions {
  readonly tenant: Tenant;
  /** Puts an endpoint's port into the tenant's segment, or out of it. */
  readonly plug: (endpoint: LocalEndpoint) => Promise<void>;
}

/**
 * Looks after the devices of one tenant's containers in their own namespaces, each time that there is a reason to: Docker
 * has named one, a port has been made again with a bare device at its other end, or the container is gone with its
 * namespace while Docker says nothing. Looks are taken one after another.
 */
export class EndKeeper {
  readonly #components: EndKeeperComponents;
  readonly #options: EndKeeperOptions;
  readonly #looks = new InOrder();

  constructor(components: EndKeeperComponents, options: EndKeeperOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Soon. */
  look(id: string): void {
    this.#looks
      .run(() => this.#look(id))
      .catch((error: unknown) => this.#components.log.warning(messageOf(error)));
  }

  /** Resolves when all looks so far have been taken. */
  idle(): Promise<void> {
    return this.#looks.idle();
  }

  async #look(id: string): Promise<void> {
    const { book, ends } = this.#components;
    const booked = book.state.endpoints[id];
    // Until its process runs, the device is Docker's to name and to move.
    if (booked?.sandbox === undefined || booked.container === undefined) return;
    const { sandbox, device } = booked;
    if (!ends.isThere(sandbox)) await this.#withdraw(id, booked);
    else if (device === undefined) await this.#learn(id, booked, sandbox);
    else await this.#mend(booked, sandbox, device);
  }

  async #learn(id: string, booked: BookedEndpoint, sandbox: string): Promise<void> {
    const { book, ends } = this.#components;
    const { mac } = localEndpoint(id, booked);
    const found = await ends.nameOf({ id, mac, sandbox });
    if (found === undefined) return;
    // Docker has named a device before its container runs. The one with its name is gone, and went before the name was known
    // here: the port is made once more, with a name.
    const isUnnamed = found === containerEndName(id);
    const device = isUnnamed ? this.#freeName(sandbox, await ends.namesIn(sandbox)) : found;
    await book.changeEndpoint(id, (now) => (now?.sandbox === sandbox ? { ...now, device } : now));
    if (isUnnamed) await this.#plug(id, { isGone: true });
    await this.#plug(id, {});
  }

  /** Does nothing for an endpoint that is gone. */
  async #plug(id: string, change: Pick<LocalEndpoint, 'isGone'>): Promise<void> {
    const booked = this.#components.book.state.endpoints[id];
    if (booked !== undefined) await this.#options.plug({ ...localEndpoint(id, booked), ...change });
  }

  /** As Docker names devices: the first `ethN` that the container does not have, and that none of its endpoints shall have. */
  #freeName(sandbox: string, there: readonly string[]): string {
    const endpoints = Object.values(this.#components.book.state.endpoints);
    const booked = endpoints.flatMap((it) => (it.sandbox === sandbox ? (it.device ?? []) : []));
    const taken = new Set([...there, ...booked]);
    let n = 0;
    while (taken.has(`eth${n}`)) n++;
    return `eth${n}`;
  }

  async #mend(booked: BookedEndpoint, sandbox: string, device: string): Promise<void> {
    const { name: tenant, subnets } = this.#options.tenant;
    const prefixes = localEndpoint('', booked).addresses.flatMap((ip) => {
      const subnet = isIpv4(ip) ? subnets.v4 : subnets.v6;
      return subnet === undefined ? [] : [prefixOf(ip, subnet.prefix.length)];
    });
    if (!(await this.#components.ends.mend(sandbox, device, prefixes))) return;
    const container = booked.names[0] ?? booked.container;
    this.#components.log.warning(
      `Device ${device} of container ${container} in network ${tenant} had been removed, and is there again`,
    );
  }

  /** There is nowhere for the other end of its port. */
  async #withdraw(id: string, booked: BookedEndpoint): Promise<void> {
    const container = booked.names[0] ?? booked.container;
    this.#components.log.info(
      `Container ${container} of network ${this.#options.tenant.name} is gone: its port is left out until Docker says more`,
    );
    await this.#plug(id, { isGone: true });
  }
}
