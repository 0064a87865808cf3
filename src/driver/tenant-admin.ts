import { TenantDirectory, type TenantDirectoryComponents } from '#src/driver/tenant-directory.ts';
import { addressFolder, hostText, readAddresses, readTenantOverview } from '#src/driver/tenant-overview.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Prefix4, Prefix6 } from '#src/lib/ip.ts';
import { chooseFreeSubnet } from '#src/tenant/choose-free-subnet.ts';
import { heldText, isHeld } from '#src/tenant/held-address.ts';
import { defaultGateway } from '#src/tenant/subnet-rules.ts';
import type { Tenant, TenantSubnet } from '#src/tenant/tenant.ts';
import { parseVniName } from '#src/tenant/tenant-codec.ts';
import { assertTenantName } from '#src/tenant/tenant-name.ts';
import { isTombstone, TOMBSTONE, TOMBSTONE_SECONDS } from '#src/tenant/tombstone.ts';

/** What an operator asks for. What is left out is chosen. */
export interface NewTenant {
  readonly name: string;
  readonly vni?: number;
  readonly mtu?: number;
  readonly internal?: boolean;
  readonly v4: NewSubnet<Prefix4>;
  /** Absent: no IPv6. */
  readonly v6?: NewSubnet<Prefix6>;
}

export interface NewSubnet<P extends Prefix4 | Prefix6> {
  readonly prefix?: P;
  readonly range?: P;
  readonly gateway?: P['address'];
  readonly auxiliary?: Readonly<Record<string, P['address']>>;
}

/** What a removal took away. */
export interface TenantRemoval {
  /** False: there was no record, only what an interrupted creation or removal had left. */
  readonly hadRecord: boolean;
  readonly vnis: readonly number[];
  /** How many released and kept ones. */
  readonly addresses: number;
}

/** So many holders are named in a refusal. */
const NAMED = 3;
const MOST_TRIES = 8;

/** Makes and removes tenants for an operator, without a host. Every write is guarded by what was read. */
export class TenantAdmin {
  readonly #components: TenantDirectoryComponents;
  readonly #directory: TenantDirectory;

  constructor(components: TenantDirectoryComponents) {
    this.#components = components;
    this.#directory = new TenantDirectory(components);
  }

  /**
   * The tenant; `isNew` when it was not there. Throws WeftError `tenant-name`, `tenant-refused`, `tenant-differs`, `vni-taken`
   * and `address-refused`, and RegistryError without an answer.
   */
  async create(wish: NewTenant, signal: AbortSignal): Promise<{ tenant: Tenant; isNew: boolean }> {
    const { name, v4, v6, ...rest } = wish;
    assertTenantName(name);
    const there = await this.#directory.agreeing(
      { name, ...rest, subnets: { v4, ...(v6 && { v6 }) } },
      signal,
    );
    if (there !== undefined) return { tenant: there, isNew: false };
    const { tenants } = await readTenantOverview(this.#components.folders, signal);
    const taken = [...tenants.values()];
    const wanted = {
      name,
      ...(rest.vni !== undefined && { vni: rest.vni }),
      ...(rest.mtu !== undefined && { mtu: rest.mtu }),
      internal: rest.internal ?? false,
      subnets: {
        v4: completed<Prefix4>(v4, v4.prefix ?? chooseFreeSubnet(name, 4, taken), defaultGateway),
        ...(v6 && {
          v6: completed<Prefix6>(v6, v6.prefix ?? chooseFreeSubnet(name, 6, taken), defaultGateway),
        }),
      },
    };
    return { tenant: await this.#directory.ensure(wanted, signal), isNew: true };
  }

  /**
   * Puts a tombstone in a tenant's place and frees its VNI and addresses; also what an interrupted creation or removal left.
   * Throws WeftError `tenant-held` with the first few holders while an address is held, `no-such-network` when there is
   * nothing of that name, and RegistryError without an answer.
   */
  async remove(name: string, signal: AbortSignal): Promise<TenantRemoval> {
    const { folders } = this.#components;
    const networks = folders.folder('tenants/networks');
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const stored = await networks.read(name, signal);
      const hadRecord = stored !== undefined && !isTombstone(stored.value);
      await this.#refuseWhileHeld(name, hadRecord, signal);
      if (hadRecord) {
        const { outcome } = await networks.replace(stored, TOMBSTONE, TOMBSTONE_SECONDS, signal);
        if (outcome === 'conflict') continue;
        // A container that was started meanwhile still uses the VNI.
        await this.#refuseWhileHeld(name, false, signal);
      }
      const vnis = await this.#freeVnis(name, signal);
      const addresses = await this.#removeAddresses(name, signal);
      if (!hadRecord && vnis.length === 0 && addresses === 0) {
        throw new WeftError('no-such-network', `there is no network ${name} in ${folders.description}`, {
          remedy: '"weft network ls" lists those there are',
        });
      }
      return { hadRecord, vnis, addresses };
    }
    throw new WeftError('no-such-network', `the record of network ${name} keeps changing`, {
      remedy: 'look at it again with "weft network inspect"',
    });
  }

  async #refuseWhileHeld(name: string, hasRecord: boolean, signal: AbortSignal): Promise<void> {
    const { folders } = this.#components;
    const { addresses, refused } = await readAddresses(folders, name, signal);
    const held = addresses.filter(isHeld);
    if (held.length + refused.length === 0) return;
    const overview = await readTenantOverview(folders, signal);
    const texts = [
      ...held.map((address) => heldText(address, hostText(overview, address.host))),
      ...refused.map(({ stored, reason }) => `the record of ${stored.name} can't be read: ${reason}`),
    ];
    const more = texts.length > NAMED ? `, and ${texts.length - NAMED} more` : '';
    const what = hasRecord ? `network ${name} is in use` : `network ${name} is removed, and still in use`;
    throw new WeftError('tenant-held', `${what}: ${texts.slice(0, NAMED).join(', ')}${more}`, {
      remedy:
        'remove the containers, free the addresses of a host that is gone with "weft address free HOST", and repeat the command',
    });
  }

  async #freeVnis(name: string, signal: AbortSignal): Promise<number[]> {
    const vnis = this.#components.folders.folder('tenants/vnis');
    const { records } = await vnis.list(signal);
    const freed: number[] = [];
    for (const record of records) {
      if (record.value !== name || !(await vnis.remove(record, signal))) continue;
      const vni = parseVniName(record.name);
      if (vni !== undefined) freed.push(vni);
    }
    return freed;
  }

  async #removeAddresses(name: string, signal: AbortSignal): Promise<number> {
    const { folders } = this.#components;
    const records = folders.folder(addressFolder(name));
    const { addresses } = await readAddresses(folders, name, signal);
    let removed = 0;
    for (const address of addresses) {
      if (!isHeld(address) && (await records.remove(address.stored, signal))) removed++;
    }
    return removed;
  }
}

function completed<P extends Prefix4 | Prefix6>(
  { range, gateway, auxiliary = {} }: NewSubnet<P>,
  prefix: P,
  gatewayOf: (prefix: P) => P['address'],
): TenantSubnet<P> {
  return { prefix, ...(range && { range }), gateway: gateway ?? gatewayOf(prefix), auxiliary };
}
