import type { TestContext } from 'node:test';
import { AddressRequests } from '#src/driver/address-requests.ts';
import { type DeviceChoice, presentDevices } from '#src/driver/choose-devices.ts';
import { ChosenDevices } from '#src/driver/chosen-devices.ts';
import { EndpointBook } from '#src/driver/endpoint-book.ts';
import { heldIn } from '#src/driver/held-places.ts';
import { NetworkRequests } from '#src/driver/network-requests.ts';
import { ownTenants } from '#src/driver/own-tenants.ts';
import { PresentTenants } from '#src/driver/present-tenants.ts';
import { TenantDirectory } from '#src/driver/tenant-directory.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { formatIp, type Ip, ipv4, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { silentLogger } from '#src/lib/log.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import type { MemoryRecordFolders } from '#src/registry/memory-record-folders.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';

/** 64 hex digits that end in a number. */
export const id = (n: number): string => n.toString(16).padStart(8, '0').padEnd(64, '0');

/** Docker's driver on one of several hosts, over a shared registry, with kernel and files in memory. */
export interface DriverHost {
  readonly kernel: MemoryKernel;
  readonly book: EndpointBook;
  readonly directory: TenantDirectory;
  readonly present: PresentTenants;
  readonly networks: NetworkRequests;
  readonly addresses: AddressRequests;
  readonly reconciler: Pick<Reconciler, 'status' | 'settled'>;
  /** `docker network create` of tenant `blue`: 10.5.0.0/24. */
  createNetwork(options?: { readonly subnet?: string; readonly vni?: string }): Promise<void>;
  /** `docker run`, until the container's process runs. The address. */
  run(n: number, ip?: string): Promise<string>;
  /** `docker rm -f`. */
  remove(n: number, ip: string): Promise<void>;
  /** The process ends; kernel and book stay. */
  stop(): Promise<void>;
}

export interface DriverHostOptions {
  readonly n: number;
  readonly folders: MemoryRecordFolders;
  /** Docker says when a container runs. */
  readonly hearsDocker?: boolean;
  /** What the book's file has; it changes with it. */
  readonly files?: Map<string, string>;
  /** Of the tenants in use; default the system's. */
  readonly clock?: Clock;
  /** What an earlier process left. */
  readonly kernel?: MemoryKernel;
  /** What a host without devices makes segments of; default devices of their own. */
  readonly firstDevices?: DeviceChoice;
  /** What is chosen when the last segment of a form that it keeps for now is gone. */
  readonly chooseAgain?: () => Promise<DeviceChoice>;
}

export async function driverHost(
  t: TestContext,
  {
    n,
    folders,
    hearsDocker = false,
    files = new Map(),
    clock = systemClock,
    kernel = new MemoryKernel(),
    firstDevices = { kind: 'own', reason: 'of a test' },
    chooseAgain,
  }: DriverHostOptions,
): Promise<DriverHost> {
  const stop = new AbortController();
  const { signal } = stop;
  const shared = { clock: systemClock, random: systemRandom, log: silentLogger, folders, signal };
  const reconciler = new Reconciler(
    { ...shared, actuators: [kernel, new SysctlActuator({ files: settings() })] },
    { fullCheckMs: 3_600_000, fullCheckShare: 1 },
  );
  const choice = (await presentDevices(kernel)) ?? firstDevices;
  const owner = ownTenants(reconciler, (): DeviceChoice['kind'] => devices.kind);
  const book = await EndpointBook.open({ files: memoryFiles(files) }, 'book');
  const directory = new TenantDirectory(shared);
  const vtep: Ip = ipv4(0xac1046be + n);
  const place = () => ({ vtep, local: vtep, mtu: 1_500, port: 8_473 });
  const devices = new ChosenDevices(
    { owner, place, heldPlaces: () => heldIn(reconciler) },
    { choice, ...(chooseAgain && { chooseAgain }), onChange: () => reconciler.check() },
  );
  const present = new PresentTenants(
    {
      ...shared,
      clock,
      book,
      directory,
      owner,
      devices,
      rules: { setPort: async () => {}, removePort: async () => {} },
      ends: {
        isThere: () => true,
        nameOf: async () => undefined,
        namesIn: async () => [],
        mend: async () => false,
      },
      names: { serve: () => ({ trouble: undefined, stop: async () => {} }) },
      place,
      self: () => ({ id: `host${n}`, vtep }),
      hostName: (host) => host,
    },
    signal,
  );
  const parts = { ...shared, book, directory, present };
  const addresses = new AddressRequests(parts);
  const networks = new NetworkRequests({
    ...parts,
    rangeOf: (tenant, family) => addresses.rangeOf(tenant, family),
    hearsDocker: () => hearsDocker,
    recall: async () => undefined,
    onNetworks: () => {},
  });
  const following = directory.run(signal).catch(() => {});
  await present.resume();
  await reconciler.start(signal);
  await directory.listed;
  owner.allowRemoval();
  const end = async (): Promise<void> => {
    stop.abort();
    await following;
    await present.stop();
  };
  t.after(end);
  const networkId = id(0xb000 + n);
  let poolId = '';
  return {
    kernel,
    book,
    directory,
    present,
    networks,
    addresses,
    reconciler,
    async createNetwork({ subnet, vni } = {}) {
      const pool = await addresses.requestPool({
        family: 4,
        options: { 'weft.network': 'blue' },
        ...(subnet !== undefined && { pool: prefix(subnet) }),
      });
      poolId = pool.poolId;
      await networks.createNetwork({
        networkId,
        options: { 'weft.network': 'blue', ...(vni !== undefined && { 'weft.vni': vni }) },
        internal: false,
        pools: [
          {
            addressSpace: 'weft',
            pool: pool.pool,
            auxiliary: {},
            ...(pool.gateway && { gateway: pool.gateway }),
          },
        ],
      });
    },
    async run(number, ip) {
      const wanted = ip === undefined ? undefined : parseIp(ip);
      const address = await addresses.requestAddress({
        poolId,
        isGateway: false,
        ...(wanted !== undefined && { address: wanted }),
      });
      const ids = { networkId, endpointId: id(number) };
      await networks.createEndpoint({ ...ids, addresses: [address], options: {} });
      await networks.join({ ...ids, sandbox: `/run/netns/c${number}` });
      return formatIp(address.address);
    },
    stop: end,
    async remove(number, ip) {
      const ids = { networkId, endpointId: id(number) };
      await networks.leave(ids);
      await networks.deleteEndpoint(ids);
      await addresses.releaseAddress(poolId, parseIp(ip) ?? ipv4(0));
    },
  };
}

function prefix(text: string) {
  const read = parsePrefix(text);
  if (read === undefined) throw new Error(`${text} is no prefix`);
  return read;
}

/** `/proc/sys`, where everything is 0 at first. */
function settings(): Pick<Files, 'read' | 'write'> {
  const values = new Map<string, string>();
  return {
    read: async (path) => values.get(path) ?? '0',
    async write(path, text) {
      values.set(path, String(text));
    },
  };
}

export const memoryFiles = (files: Map<string, string>): Files => ({
  read: async (path) => files.get(path),
  exists: (path) => files.has(path),
  write: async () => {},
  async writeAtomically(path, text) {
    files.set(path, typeof text === 'string' ? text : [...text].join(''));
  },
  append: async (path, text) => void files.set(path, `${files.get(path) ?? ''}${text}`),
  createExclusively: async () => false,
  remove: async () => {},
});
