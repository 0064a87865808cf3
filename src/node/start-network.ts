import { prepareBackend } from '#src/backend/catalogue.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatPrefix } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { join } from '#src/membership/join.ts';
import type { Membership } from '#src/membership/membership.ts';
import type { Remembered } from '#src/membership/remembered.ts';
import type { LeaseAttributes, Subnets } from '#src/network/lease.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import type { RawLease } from '#src/network/lease-rules.ts';
import { type NetworkConfig, parseNetworkConfig } from '#src/network/network-config.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { areIn, equalSubnets, networksOf } from '#src/network/subnet-range.ts';
import { checkHost } from '#src/node/check-host.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { Draft } from '#src/node/intent-maker.ts';
import type { NetworkIntent, PreviousNetwork } from '#src/node/network-intent.ts';
import { removeSpareDevices, rotatedNetwork, routesFound } from '#src/node/network-keys.ts';
import { wantsRules } from '#src/node/network-options.ts';
import { makeDataPath, type NetworkParts } from '#src/node/network-parts.ts';
import { addressesToAvoid } from '#src/node/overlap.ts';
import { formatAddresses } from '#src/node/underlay/underlay.ts';
import { leasesFor, refuseFlannels } from '#src/registry/ipv6-leases.ts';
import type { Registry } from '#src/registry/registry.ts';

/*
 * The two ways to an intent at a start: from what is remembered, and from the registry. Both hand it to the same data path.
 */

/** What earlier runs left. */
export interface Past {
  readonly remembered: Remembered | undefined;
  readonly previous: PreviousNetwork;
}

/**
 * Brings the network up with what the last run knew. `undefined` when that can't be, which is logged; nothing runs then.
 */
export async function startFromMemory(
  parts: NetworkParts,
  { remembered, previous }: Past & { readonly remembered: Remembered },
  life: Lifetime,
): Promise<DataPath | undefined> {
  const attempt = new Lifetime(life.signal);
  try {
    const subnets = parseSubnetName(remembered.own.name);
    const own = decodeAttributes(remembered.own.value);
    if (subnets === undefined || !own.ok) throw new Error('its lease can not be read');
    const draft = await parts.maker.draft(parseNetworkConfig(remembered.config), { subnets });
    if (!areIn(draft.config.ranges, subnets)) throw new Error('its lease is not in its network');
    draft.claim();
    const intent = draft.intent(subnets, own.attributes);
    await parts.names.choose(draft.prepared.instance, remembered.instance);
    const dataPath = makeDataPath(parts, { intent, previous }, attempt);
    await settleKeys(parts, dataPath, own.attributes);
    await dataPath.apply(intent, parts.names.use(intent)).done;
    await dataPath.inbox.snapshot(recordsOf(remembered));
    await dataPath.owner.settled();
    life.adopt(attempt);
    const age = Math.round((parts.host.clock.now() - remembered.at) / 1000);
    parts.log.warning(
      `The registry does not answer: forwarding with subnet ${formatAll(subnets)} and the ${dataPath.table.accepted} peers known ${age} s ago`,
    );
    return dataPath;
  } catch (error) {
    await attempt.stop();
    life.signal.throwIfAborted();
    parts.log.warning(`Could not forward with what is remembered: ${messageOf(error)}`);
    return undefined;
  }
}

/** Before the first peer is planned: where packets to it go now is what it gets. Changes nothing when `isLooking`. */
export async function settleKeys(
  { rotation, host }: NetworkParts,
  dataPath: DataPath,
  own: LeaseAttributes,
  { isLooking = false }: { readonly isLooking?: boolean } = {},
): Promise<void> {
  if (dataPath.intent.backend.keyDevices === undefined) return;
  const notYet = { apply: async () => {}, isPublished: () => false };
  rotation.use(rotatedNetwork(dataPath, notYet));
  await rotation.settle(own, await routesFound(host));
  if (!isLooking) await removeSpareDevices(host, dataPath);
}

/** What a registry says of a network when it opens. */
export interface OpenedNetwork {
  readonly registry: Registry;
  readonly text: string;
  readonly config: NetworkConfig;
  /** Why the config is that of an earlier run; absent where the registry has it. */
  readonly missing: string | undefined;
}

export interface Joined {
  readonly draft: Draft;
  readonly membership: Membership;
  readonly intent: NetworkIntent;
}

/** Looks at the host and takes or takes back the lease. `running`: the data path of a start from memory. */
export async function joinNetwork(
  parts: NetworkParts,
  { registry: opened, config }: OpenedNetwork,
  { remembered, previous }: Past,
  running: DataPath | undefined,
  onStep: (what: string) => void,
  signal: AbortSignal,
): Promise<Joined> {
  const { log, maker, host, options, createLogger, events, trust } = parts;
  for (const warning of config.warnings)
    log.warning(`Network config: ${warning}; flannel 0.28 would refuse it`);
  await refuseFlannels(opened, config.ranges, signal);
  const registry = leasesFor(opened, config.ranges);
  // The store needs a while for the list, and the host is looked at meanwhile.
  const listing = registry.list(signal);
  listing.catch(() => {});
  const draft = await maker.draft(config, {
    subnets: previous.subnets,
    ...(running !== undefined && { current: running.intent.underlay }),
  });
  // Before the lease: a network that can't run here must not take a subnet.
  draft.claim();
  const { underlay } = draft;
  log.info(
    `Using interface with name ${underlay.name} and address ${formatAddresses(underlay.address)}, chosen by ${underlay.chosenBy}; public IP ${formatAddresses(underlay.publicIp)}`,
  );
  if (running === undefined) await checkForStart(parts, draft, signal);
  onStep('a lease');
  const { clock, random, identity } = host;
  const membership = await join(
    { registry, clock, random, createLogger, events },
    {
      config,
      claimant: { node: identity, publicIp: underlay.publicIp },
      previous: trust.preferred(previous.subnets, config.ranges),
      avoid: [...subnetsOf(remembered), ...addressesToAvoid(draft.overlap)],
      ttlSeconds: options.leaseTtl / 1000,
      marginSeconds: options.subnetLeaseRenewMargin * 60,
      listing,
      overlap: draft.overlap,
      judge: (attributes) => draft.judge(attributes),
      attributesFor: (taken) => draft.attributes(taken),
      ...(trust.sign !== undefined && { sign: trust.sign }),
      defends: trust.isOn,
      held: remembered && trust.heldBefore(remembered),
    },
    signal,
  );
  const { own, attributes } = membership;
  const { subnets } = own;
  log.info(`Lease acquired: ${formatAll(subnets)}`);
  trust.holds(subnets);
  const intent = draft.intent(subnets, attributes);
  if (running !== undefined) refuseRenumbering(running.intent, intent);
  return { draft, membership, intent };
}

/**
 * Devices of a path that the last run had beside another one, and that the network has not any more: the change ended while no
 * daemon ran here.
 */
export function devicesOfChange(
  { host, artefacts }: Pick<NetworkParts, 'host' | 'artefacts'>,
  remembered: Remembered | undefined,
  { backend }: NetworkIntent,
): readonly string[] {
  if (remembered === undefined) return [];
  try {
    const config = parseNetworkConfig(remembered.config);
    if (config.change === undefined) return [];
    const place = { links: [], identity: host.identity, instance: artefacts.tag };
    return prepareBackend(config, place).devices.filter((name) => !backend.devices.includes(name));
  } catch {
    // What can't be read now made nothing that is known.
    return [];
  }
}

/** The records of an earlier run, as the registry would list them. */
export const recordsOf = ({ peers }: Remembered): RawLease[] =>
  peers.map((peer) => ({ ...peer, revision: 0n, expiry: { kind: 'reservation' } as const }));

const subnetsOf = (remembered: Remembered | undefined) =>
  (remembered?.peers ?? []).flatMap(({ name }) => valuesOf(parseSubnetName(name) ?? {}));

async function checkForStart(
  { host, options, log }: NetworkParts,
  { config, prepared, advertised }: Draft,
  signal: AbortSignal,
): Promise<void> {
  const kind = config.nftables ? 'nftables' : 'iptables';
  await checkHost(
    { ...host, log },
    {
      requirements: prepared.requirements,
      firewall: wantsRules(options) ? kind : undefined,
      ipv4: config.ranges.v4 !== undefined,
      ipv6: config.ranges.v6 !== undefined,
      advertised,
    },
    signal,
  );
}

/** The registry answers after a start without it. It must agree, or running containers would be renumbered. */
function refuseRenumbering(running: NetworkIntent, next: NetworkIntent): void {
  const isSame =
    equalSubnets(running.subnets, next.subnets) &&
    equalSubnets(networksOf(running.config.ranges), networksOf(next.config.ranges)) &&
    running.backend.type === next.backend.type;
  if (isSame) return;
  throw new WeftError(
    'renumbered',
    `the registry has another subnet for this host, ${formatAll(next.subnets)} instead of the remembered ${formatAll(running.subnets)}`,
    { remedy: 'restart flanneld and Docker to take it' },
  );
}

const formatAll = (subnets: Subnets): string => valuesOf(subnets).map(formatPrefix).join(' and ');
