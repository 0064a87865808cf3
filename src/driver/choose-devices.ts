import type { FoundPlaces } from '#src/driver/vlan-pool.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { findSegments } from '#src/tenant/found-segments.ts';
import { type SegmentPlace, sharedVxlan } from '#src/tenant/segment-objects.ts';

/** What segments of a host are made of. */
export type DeviceChoice =
  | {
      readonly kind: 'own';
      readonly reason: string;
      /** It is the reason only while there is a device of a segment. */
      readonly isForNow?: boolean;
    }
  | ({ readonly kind: 'shared' } & FoundPlaces);

type TriedKernel = Pick<Kernel, 'links' | 'dump' | 'apply'>;

const TRIAL_BRIDGE = 'br-try';
const TRIAL_TUNNEL = 'vx-try';

/**
 * One device for all networks where the kernel can do it, else one for each, in the tenants' namespace. The kernel is asked
 * by trying: bridges that filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING) and `vnifilter` (Linux 5.18) may each be missing. A
 * host with devices for each keeps them while it has any: the kernel refuses one for all on the same port beside them
 * (EADDRINUSE), and to make them again would cut containers off.
 */
export async function chooseDevices(kernel: TriedKernel, place: SegmentPlace): Promise<DeviceChoice> {
  const present = await presentDevices(kernel);
  if (present !== undefined) return present;
  const failure = await tryShared(kernel, place);
  return failure === undefined
    ? { kind: 'shared', places: new Map(), held: [] }
    : { kind: 'own', reason: failure };
}

/** What a host has already; `undefined` for one that has nothing, where only a trial can say what it will be. */
export async function presentDevices(
  kernel: Pick<TriedKernel, 'links' | 'dump'>,
): Promise<DeviceChoice | undefined> {
  const found = await findSegments(kernel);
  if (found.ownTunnel !== undefined)
    return { kind: 'own', reason: `${found.ownTunnel} is in use`, isForNow: true };
  if (!found.hasShared) return undefined;
  return { kind: 'shared', places: found.places, held: [...found.heldPlaces()] };
}

/** Why the kernel can't; `undefined` when it can. What is made for it is removed. */
async function tryShared(kernel: TriedKernel, place: SegmentPlace): Promise<string | undefined> {
  const vlan = { device: TRIAL_TUNNEL, vlan: 1, untagged: false, vni: 1 } as const;
  const remove = async (): Promise<void> => {
    const left = (await kernel.links()).filter(({ name }) => name === TRIAL_TUNNEL || name === TRIAL_BRIDGE);
    await kernel.apply(left.map(({ name }) => removal(name)));
  };
  try {
    // Of a trial that was killed.
    await remove();
    const results = await kernel.apply(trialOperations(place, vlan));
    const refused = results.find((result) => !result.done);
    if (refused !== undefined) return `the kernel refused a trial: ${refused.error.message}`;
    // An older kernel ignores what it does not know.
    const found = await kernel.dump({ kinds: ['link', 'bridge-vlan', 'vni'] });
    const has = (is: (object: KernelObject) => boolean): boolean => found.some(is);
    const isComplete =
      has((it) => it.kind === 'link' && it.name === TRIAL_TUNNEL && it.vxlan?.vniFilter === true) &&
      has((it) => it.kind === 'link' && it.name === TRIAL_BRIDGE && it.bridge?.vlanFiltering === true) &&
      has((it) => it.kind === 'bridge-vlan' && it.device === TRIAL_TUNNEL && it.vni === vlan.vni) &&
      has((it) => it.kind === 'vni' && it.device === TRIAL_TUNNEL && it.vni === vlan.vni);
    return isComplete ? undefined : 'the kernel has no vnifilter, or its bridges do not filter VLANs';
  } catch (error) {
    return `the kernel refused a trial: ${error instanceof Error ? error.message : String(error)}`;
  } finally {
    await remove();
  }
}

const removal = (name: string): Operation => ({ verb: 'remove', object: { kind: 'link', name } });

function trialOperations(
  place: SegmentPlace,
  vlan: { readonly device: string; readonly vlan: number; readonly untagged: boolean; readonly vni: number },
): Operation[] {
  const tunnel = { kind: 'link', name: TRIAL_TUNNEL } as const;
  const vxlan = sharedVxlan(place);
  return [
    {
      verb: 'add',
      object: { kind: 'link', name: TRIAL_BRIDGE, type: 'bridge', bridge: { vlanFiltering: true } },
    },
    { verb: 'add', object: { ...tunnel, type: 'vxlan', vxlan } },
    { verb: 'set', object: { ...tunnel, master: TRIAL_BRIDGE } },
    { verb: 'replace', object: { kind: 'bridge-port', device: TRIAL_TUNNEL, vlanTunnel: true } },
    { verb: 'add', object: { kind: 'vni', device: TRIAL_TUNNEL, vni: vlan.vni } },
    { verb: 'add', object: { kind: 'bridge-vlan', ...vlan } },
    { verb: 'set', object: { ...tunnel, up: true } },
  ];
}
