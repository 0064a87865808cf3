import { equalPrefix, formatIp } from '#src/lib/ip.ts';
import type { FdbEntry, KernelObject, Link, Neighbour, Route, Vxlan } from '#src/state/object.ts';

/**
 * How what was found differs from what is wanted: one text per field, `mtu: 1400, wanted 1450`; empty when it
 * is as wanted. Fields that are not wanted of a link are not looked at.
 */
export function differences(wanted: KernelObject, found: KernelObject): string[] {
  if (wanted.kind === 'link' && found.kind === 'link') return linkDifferences(wanted, found);
  if (wanted.kind === 'route' && found.kind === 'route') return routeDifferences(wanted, found);
  if (wanted.kind === 'neighbour' && found.kind === 'neighbour') return neighbourDifferences(wanted, found);
  if (wanted.kind === 'fdb' && found.kind === 'fdb') return fdbDifferences(wanted, found);
  return [];
}

/** Whether there are no {@link differences}, without putting them into words: nearly always there are none. */
export function isAsWanted(wanted: KernelObject, found: KernelObject): boolean {
  if (wanted === found) return true;
  if (wanted.kind === 'fdb' && found.kind === 'fdb')
    return wanted.destination === found.destination && wanted.permanent === found.permanent;
  if (wanted.kind === 'neighbour' && found.kind === 'neighbour')
    return wanted.mac === found.mac && wanted.permanent === found.permanent;
  return differences(wanted, found).length === 0;
}

/**
 * Differences that no `ip link set` mends: the device has to be deleted and made again. The fields are those that
 * flannel compares (v0.9.1 backend/vxlan/device.go), and the underlay by its name.
 */
export function incompatibilities(wanted: Link, found: Link): string[] {
  if (wanted.vxlan === undefined) return [];
  if (found.vxlan === undefined) return [`link type: ${wanted.type} vs ${found.type ?? 'none'}`];
  const texts: string[] = [];
  const compare = (label: string, field: keyof Vxlan) => {
    const [want, have] = [wanted.vxlan?.[field], found.vxlan?.[field]];
    if (want !== undefined && want !== have)
      texts.push(`${label}: ${formatField(want)} vs ${formatField(have)}`);
  };
  compare('vni', 'vni');
  compare('vtep (external) interface', 'underlay');
  compare('vtep (external) IP', 'local');
  compare('port', 'port');
  compare('learning', 'learning');
  compare('gbp', 'gbp');
  if (found.vxlan.group !== undefined && wanted.vxlan.group === undefined) {
    texts.push(`group address: none vs ${formatIp(found.vxlan.group)}`);
  }
  if (found.vxlan.l2miss) texts.push('l2miss: false vs true');
  return texts;
}

function linkDifferences(wanted: Link, found: Link): string[] {
  const texts = incompatibilities(wanted, found);
  field(texts, 'mac', wanted.mac, found.mac);
  field(texts, 'mtu', wanted.mtu, found.mtu);
  field(texts, 'up', wanted.up, found.up);
  return texts;
}

function routeDifferences(wanted: Route, found: Route): string[] {
  const texts: string[] = [];
  if (!equalPrefix(wanted.destination, found.destination)) texts.push('destination');
  field(texts, 'type', wanted.type, found.type);
  field(texts, 'via', wanted.via, found.via);
  // A blackhole has no device of its own, whatever the kernel prints for it.
  if (wanted.type === 'unicast') field(texts, 'dev', wanted.device, found.device);
  if (wanted.onlink !== found.onlink) texts.push(`onlink: ${found.onlink}, wanted ${wanted.onlink}`);
  field(texts, 'proto', wanted.protocol, found.protocol);
  if (wanted.type === 'unicast') field(texts, 'scope', wanted.scope, found.scope);
  return texts;
}

function neighbourDifferences(wanted: Neighbour, found: Neighbour): string[] {
  const texts: string[] = [];
  field(texts, 'lladdr', wanted.mac, found.mac);
  field(texts, 'permanent', wanted.permanent, found.permanent);
  return texts;
}

function fdbDifferences(wanted: FdbEntry, found: FdbEntry): string[] {
  const texts: string[] = [];
  field(texts, 'dst', wanted.destination, found.destination);
  field(texts, 'permanent', wanted.permanent, found.permanent);
  return texts;
}

type Field = string | number | boolean | bigint | undefined;

function field(texts: string[], label: string, wanted: Field, found: Field): void {
  if (wanted !== undefined && wanted !== found) {
    texts.push(`${label}: ${formatField(found, label)}, wanted ${formatField(wanted, label)}`);
  }
}

const ADDRESS_FIELDS = ['via', 'dst', 'vtep (external) IP'];

function formatField(value: Field, label = ''): string {
  if (value === undefined) return 'none';
  if (typeof value === 'bigint' || (typeof value === 'number' && ADDRESS_FIELDS.includes(label))) {
    return formatIp(value as Parameters<typeof formatIp>[0]);
  }
  return String(value);
}
