import { ipv4, parseIp } from '#src/lib/ip.ts';
import { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import type { Clock } from '#src/sys/clock.ts';
import { formatAddress } from '#src/tenant/address-codec.ts';
import { formatAlive, formatHost, type HostRecord } from '#src/tenant/host-codec.ts';
import type { AddressRecord } from '#src/tenant/tenant.ts';

const signal = new AbortController().signal;

/** The record of host `n`: identity `host1`, name `node-1`, VTEP 172.16.70.191. */
export const hostRecord = (n: number, fields: Partial<HostRecord> = {}): HostRecord => ({
  id: `host${n}`,
  hostName: `node-${n}`,
  vtep: ipv4(0xac1046be + n),
  bootId: 'b',
  version: '0.1.0',
  docker: {},
  removed: [],
  ...fields,
});

/** What hosts write of themselves and of their addresses, in memory. */
export class TenantRecords {
  readonly folders: MemoryRecordFolders;

  constructor(components: { readonly clock: Clock }) {
    this.folders = new MemoryRecordFolders(components);
  }

  async host(n: number, { isAlive = true, ...fields }: Partial<HostRecord> & { isAlive?: boolean } = {}) {
    const record = hostRecord(n, fields);
    await this.put('hosts', record.id, formatHost(record));
    if (isAlive) await this.put('alive', record.id, formatAlive(record));
  }

  async address(tenant: string, text: string, n: number, fields: Partial<AddressRecord> = {}): Promise<void> {
    const ip = parseIp(text);
    if (ip === undefined) throw new Error(`${text} is no address`);
    const { id: host, vtep } = hostRecord(n);
    const value = formatAddress({
      ...{ ip, state: 'published', host, vtep, names: ['web'], keep: false, since: 1_000 },
      ...fields,
    });
    await this.put(`addresses/${tenant}`, text, value);
  }

  async put(folder: string, name: string, value: string): Promise<void> {
    const records = this.folders.folder(`tenants/${folder}`);
    const there = await records.read(name, signal);
    if (there === undefined) await records.create(name, value, undefined, signal);
    else await records.replace(there, value, undefined, signal);
  }

  async remove(folder: string, name: string): Promise<void> {
    const records = this.folders.folder(`tenants/${folder}`);
    const there = await records.read(name, signal);
    if (there !== undefined) await records.remove(there, signal);
  }

  async read(folder: string, name: string): Promise<string | undefined> {
    return (await this.folders.folder(`tenants/${folder}`).read(name, signal))?.value;
  }

  /** The state of an address, `undefined` without a record. */
  async stateOf(tenant: string, ip: string): Promise<string | undefined> {
    const text = await this.read(`addresses/${tenant}`, ip);
    return text === undefined ? undefined : (JSON.parse(text) as { state: string }).state;
  }

  async names(folder: string): Promise<string[]> {
    const { records } = await this.folders.folder(`tenants/${folder}`).list(signal);
    return records.map(({ name }) => name).sort();
  }
}
