import { ownSegmentDevices, type SegmentDevices, SharedSegmentDevices } from '#src/driver/segment-devices.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import type { Owner } from '#src/reconcile/owner.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { type SegmentPlace, sharedTunnel } from '#src/tenant/segment-objects.ts';
import { SHARED_TUNNEL } from '#src/tenant/segment-wiring.ts';

/** What segments of a host are made of. `shared`: their VLANs by VNI, as an earlier run left them. */
export type DeviceChoice =
  | { readonly kind: 'own'; readonly reason: string }
  | { readonly kind: 'shared'; readonly vlans: ReadonlyMap<number, number> };

type TriedKernel = Pick<Kernel, 'links' | 'dump' | 'apply'>;

const TRIAL_BRIDGE = 'br-try';
const TRIAL_TUNNEL = 'vx-try';

/**
 * One device for all networks where the kernel can do it, else one for each, in the tenants' namespace. The kernel is asked
 * by trying: bridges that filter VLANs (CONFIG_BRIDGE_VLAN_FILTERING) and `vnifilter` (Linux 5.18) may each be missing. A
 * host with devices for each keeps them: the kernel refuses one for all on the same port beside them (EADDRINUSE).
 */
export async function chooseDevices(kernel: TriedKernel, place: SegmentPlace): Promise<DeviceChoice> {
  const present = await presentDevices(kernel);
  if (present !== undefined) return present;
  const failure = await tryShared(kernel, place);
  return failure === undefined ? { kind: 'shared', vlans: new Map() } : { kind: 'own', reason: failure };
}

/** What a host has already; `undefined` for one that has nothing, where only a trial can say what it will be. */
export async function presentDevices(
  kernel: Pick<TriedKernel, 'links' | 'dump'>,
): Promise<DeviceChoice | undefined> {
  const links = await kernel.links();
  const own = links.find(({ name }) => /^vx-\d+$/.test(name));
  if (own !== undefined) return { kind: 'own', reason: `${own.name} is in use` };
  if (!links.some(({ name }) => name === SHARED_TUNNEL)) return undefined;
  return { kind: 'shared', vlans: await vlansOf(kernel) };
}

async function vlansOf(kernel: Pick<TriedKernel, 'dump'>): Promise<ReadonlyMap<number, number>> {
  const found = await kernel.dump({ kinds: ['bridge-vlan'], device: SHARED_TUNNEL });
  return new Map(
    found.flatMap((object): [number, number][] =>
      object.kind === 'bridge-vlan' && object.vni !== undefined ? [[object.vni, object.vlan]] : [],
    ),
  );
}

/** Why the kernel can't; `undefined` when it can. What is made for it is removed. */
async function tryShared(kernel: TriedKernel, place: SegmentPlace): Promise<string | undefined> {
  const vlan = { device: TRIAL_TUNNEL, vlan: 1, untagged: false, vni: 1 } as const;
  try {
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
    await kernel.apply([TRIAL_TUNNEL, TRIAL_BRIDGE].map(removal));
  }
}

const removal = (name: string): Operation => ({ verb: 'remove', object: { kind: 'link', name } });

function trialOperations(
  place: SegmentPlace,
  vlan: { readonly device: string; readonly vlan: number; readonly untagged: boolean; readonly vni: number },
): Operation[] {
  const tunnel = { kind: 'link', name: TRIAL_TUNNEL } as const;
  const vxlan = sharedTunnel(place);
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

/** The devices of a choice. */
export const segmentDevices = (
  choice: DeviceChoice,
  parts: { readonly owner: Pick<Owner, 'set'>; readonly place: () => SegmentPlace },
): SegmentDevices =>
  choice.kind === 'own' ? ownSegmentDevices : new SharedSegmentDevices(parts, choice.vlans);
