import type { Kernel } from '#src/kernel/kernel.ts';
import { WeftError } from '#src/lib/errors.ts';
import { isGlobalUnicast, type Prefix } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';
import type { Files } from '#src/sys/files.ts';
import { portName } from '#src/tenant/segment-objects.ts';

export interface ContainerEndsComponents {
  /** rtnetlink of the tenants' namespace. */
  readonly ports: Pick<Kernel, 'dump'>;
  /** rtnetlink of a container's network namespace, by its path. */
  readonly open: (sandbox: string) => Pick<Kernel, 'dump' | 'apply' | 'close'>;
  /** The settings of a container's network namespace, by its path. */
  readonly settings: (sandbox: string) => Pick<Files, 'read' | 'write'>;
  /** Whether a path is that of a network namespace. */
  readonly isThere: (sandbox: string) => boolean;
}

/** A container's device, by what is known of it outside of its namespace. */
export interface ContainerEnd {
  /** The endpoint's ID. */
  readonly id: string;
  readonly mac: Mac;
  /** The path of the container's network namespace. */
  readonly sandbox: string;
}

/**
 * The devices of containers, in their own network namespaces. Docker names them, and gives them their addresses once. When
 * a port is removed the kernel takes the container's device along; the reconciler makes both again, and what Docker did is
 * done here.
 */
export class ContainerEnds {
  readonly #components: ContainerEndsComponents;

  constructor(components: ContainerEndsComponents) {
    this.#components = components;
  }

  /** Whether the container's namespace is still there. */
  isThere(sandbox: string): boolean {
    return this.#components.isThere(sandbox);
  }

  /** The name of the device at the other end of an endpoint's port; `undefined` while it is not in the container. */
  async nameOf({ id, mac, sandbox }: ContainerEnd): Promise<string | undefined> {
    const [port] = await linksOf(this.#components.ports, portName(id));
    if (port?.peerIndex === undefined) return undefined;
    return this.#inside(sandbox, async (kernel) => {
      // Two namespaces may use the same numbers: both ends have to agree.
      const end = (await linksOf(kernel)).find(
        (link) => link.index === port.peerIndex && link.peerIndex === port.index && link.mac === mac,
      );
      return end?.name;
    });
  }

  /** The names of all devices in a container. */
  async namesIn(sandbox: string): Promise<string[]> {
    return (await this.#inside(sandbox, (kernel) => linksOf(kernel))).map(({ name }) => name);
  }

  /**
   * Gives a container's device that was made again what Docker gives it: `sysctl net.ipv6.conf.DEVICE.disable_ipv6=0` where
   * it has IPv6, `ip address add PREFIX dev DEVICE` for each prefix, and `ip link set DEVICE up`. False where there is nothing to do: a device that is up or has addresses is the
   * container's own business. Throws WeftError `container-end` with the kernel's reason.
   */
  async mend(sandbox: string, device: string, prefixes: readonly Prefix[]): Promise<boolean> {
    return this.#inside(sandbox, async (kernel) => {
      if (!(await isBare(kernel, device))) return false;
      if (prefixes.some(({ family }) => family === 6)) await this.#allowIpv6(sandbox, device);
      const operations = endOperations(device, prefixes);
      for (const result of await kernel.apply(operations)) {
        if (result.done || result.error.errno === 'EEXIST') continue;
        const command = commandOf(result.operation);
        throw new WeftError(
          'container-end',
          `could not run "${command}" in the container at ${sandbox}: ${result.error.message}`,
          { remedy: 'restart the container' },
        );
      }
      return true;
    });
  }

  /** Whether {@link mend} would do something. */
  needsMending(sandbox: string, device: string): Promise<boolean> {
    return this.#inside(sandbox, (kernel) => isBare(kernel, device));
  }

  /** Whether a container's device has no IPv6; of `default`, whether its new devices have none. */
  async forbidsIpv6(sandbox: string, device: string): Promise<boolean> {
    return (await this.#components.settings(sandbox).read(forbidFile(device)))?.trim() === '1';
  }

  /** Docker forbids IPv6 to each new device of a container, and allows it to those with an address of it. */
  async #allowIpv6(sandbox: string, device: string): Promise<void> {
    if (await this.forbidsIpv6(sandbox, device))
      await this.#components.settings(sandbox).write(forbidFile(device), '0');
  }

  async #inside<T>(
    sandbox: string,
    look: (kernel: ReturnType<ContainerEndsComponents['open']>) => Promise<T>,
  ): Promise<T> {
    const kernel = this.#components.open(sandbox);
    try {
      return await look(kernel);
    } finally {
      kernel.close();
    }
  }
}

const forbidFile = (device: string): string => `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`;

/** What Docker gives a container's device. */
export const endOperations = (device: string, prefixes: readonly Prefix[]): Operation[] => [
  ...prefixes.map((prefix): Operation => ({ verb: 'add', object: { kind: 'address', prefix, device } })),
  { verb: 'set', object: { kind: 'link', name: device, up: true } },
];

/** A device that is up or has addresses is the container's own business. */
async function isBare(kernel: Pick<Kernel, 'dump'>, device: string): Promise<boolean> {
  const found = await kernel.dump({ kinds: ['link', 'address'], device });
  const link = found.find((object) => object.kind === 'link');
  return link !== undefined && link.up !== true && !found.some(isGlobalAddress);
}

async function linksOf(kernel: Pick<Kernel, 'dump'>, device?: string): Promise<Link[]> {
  const found = await kernel.dump({ kinds: ['link'], ...(device !== undefined && { device }) });
  return found.filter((object) => object.kind === 'link');
}

/** The kernel gives a device its link-local address by itself. */
const isGlobalAddress = (object: KernelObject): boolean =>
  object.kind === 'address' && isGlobalUnicast(object.prefix.address);
