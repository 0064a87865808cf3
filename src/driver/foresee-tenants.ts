import { type DeviceChoice, presentDevices } from '#src/driver/choose-devices.ts';
import { ChosenDevices } from '#src/driver/chosen-devices.ts';
import { bookPath, EndpointBook } from '#src/driver/endpoint-book.ts';
import { type ForeseenEnd, ForeseenEnds } from '#src/driver/foreseen-ends.ts';
import { HostDirectory } from '#src/driver/host-directory.ts';
import { ownTenants } from '#src/driver/own-tenants.ts';
import { PresentTenants } from '#src/driver/present-tenants.ts';
import { TenantDirectory } from '#src/driver/tenant-directory.ts';
import type { TenantHostComponents, TenantHostOptions } from '#src/driver/tenant-host.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { orAborted } from '#src/lib/or-aborted.ts';
import type { TableChange } from '#src/reconcile/rules/kept-table.ts';
import type { TenantRules } from '#src/reconcile/rules/tenant-rules.ts';
import { ReadingFolders, type WithheldWrite } from '#src/registry/reading-folders.ts';
import { deviceOf } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { isSegmentDevice } from '#src/tenant/segment-wiring.ts';

export interface ForeseeComponents
  extends Pick<
    TenantHostComponents,
    'folders' | 'reconciler' | 'files' | 'clock' | 'random' | 'createLogger' | 'place'
  > {
  /** In the tenants' namespace. */
  readonly kernel: Parameters<typeof presentDevices>[0];
  readonly rules: Pick<TenantRules, 'setPort' | 'removePort' | 'setPeers' | 'plan'>;
  readonly ends: ConstructorParameters<typeof ForeseenEnds>[0];
}

export interface ForeseenTenants {
  /** In the tenants' namespace. */
  readonly operations: readonly Operation[];
  /** In the namespaces of containers, whose devices are made again. */
  readonly ends: readonly ForeseenEnd[];
  readonly rules: { readonly inside: TableChange | undefined; readonly host: TableChange | undefined };
  /** Addresses whose records would be written. */
  readonly writes: readonly WithheldWrite[];
  /** Networks of the registry of which this host's book says nothing: Docker gets them, unless it has them. */
  readonly unknownToDocker: readonly string[];
  /** There is no book: only Docker knows what this host has. */
  readonly hasNoBook: boolean;
  /** Of which form devices will be is not known: the operations are those of a device for each network. */
  readonly isUntried: boolean;
}

/** A start of a host without devices tries what the kernel can; this does not touch it. */
const UNTRIED: DeviceChoice = { kind: 'own', reason: 'not tried' };

/**
 * What a start of the driver would change on this host. It takes the driver's own way: the book, then what the registry has,
 * as wanted state; but nothing is written, neither to the kernel nor to the registry nor to a file, and Docker is not
 * asked. The reconciler is one that was not started.
 */
export async function foreseeTenants(
  components: ForeseeComponents,
  { stateDir, identity, dockerNetworks }: Pick<TenantHostOptions, 'stateDir' | 'identity' | 'dockerNetworks'>,
  signal: AbortSignal,
): Promise<ForeseenTenants> {
  const { reconciler, rules, createLogger, place } = components;
  const files = { ...components.files, writeAtomically: async () => {}, append: async () => {} };
  const book = await EndpointBook.open({ files }, bookPath(stateDir));
  const folders = new ReadingFolders(components.folders);
  const life = new Lifetime(signal);
  const ends = new ForeseenEnds(components.ends);
  const choice = (await presentDevices(components.kernel)) ?? UNTRIED;
  const owner = ownTenants(reconciler, () => choice.kind);
  const shared = { ...components, folders, files, log: createLogger('tenants'), book };
  const directory = new TenantDirectory(shared);
  const hostsListed = Promise.withResolvers<void>();
  const self = () => ({
    ...identity,
    vtep: place().vtep,
    docker: book.state.networks,
    removed: book.state.removed,
  });
  const hosts: HostDirectory = new HostDirectory(
    { ...shared, self },
    { onChange: () => hosts.isListed && hostsListed.resolve() },
  );
  const present = new PresentTenants(
    {
      ...shared,
      owner,
      devices: new ChosenDevices({ owner, place, heldPlaces: () => [] }, { choice }),
      directory,
      ends,
      names: { serve: () => ({ trouble: undefined, stop: async () => {} }) },
      self: () => ({ id: identity.id, vtep: place().vtep }),
      hostName: (host) => hosts.nameOf(host),
    },
    life.signal,
  );
  try {
    // In the order of a start: the book counts before the registry is known.
    await present.resume();
    life.run((ended) => directory.run(ended));
    life.run((ended) => hosts.run(ended));
    await orAborted(directory.listed, life.signal);
    present.openBooked();
    for (const tenant of present.all()) await orAborted(tenant.addresses.isListed, life.signal);
    await orAborted(hostsListed.promise, life.signal);
    await rules.setPeers({ underlays: [place().device], vteps: hosts.vteps() });
    await present.endsLookedAt();
    const operations = await owner.plan();
    return {
      // What a lost book had is Docker's to say: nothing is removed before it is asked.
      operations: book.isNew ? operations.filter(({ verb }) => verb !== 'remove') : operations,
      ends: await ends.plan(operations),
      rules: await rules.plan(life.signal),
      writes: folders.withheld.filter(({ folder }) => folder.startsWith('tenants/addresses/')),
      unknownToDocker: dockerNetworks === 'all' ? unknownTo(book, directory) : [],
      hasNoBook: book.isNew,
      isUntried:
        choice === UNTRIED && operations.some(({ object }) => isSegmentDevice(deviceOf(object) ?? '')),
    };
  } finally {
    await life.stop();
    await present.stop();
    await owner.release();
  }
}

function unknownTo({ state }: EndpointBook, directory: TenantDirectory): string[] {
  const known = new Set([...Object.values(state.networks), ...state.removed]);
  return Array.from(directory.all(), ({ name }) => name)
    .filter((name) => !known.has(name))
    .sort();
}
