import { isVxlanDeviceName } from '#src/backend/vxlan-names.ts';
import type { FoundInterfaces, KnownPeer } from '#src/diagnose/known-network.ts';
import { type Ip, type Ipv4, type Ipv6, isIpv4, parseIp } from '#src/lib/ip.ts';
import { type PerFamily, valuesOf } from '#src/lib/per-family.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { Address, Link } from '#src/state/object.ts';

/** The device that carries the outer packets. */
export interface KnownUnderlay {
  readonly name: string;
  /** Of the device, in bytes. */
  readonly mtu: number;
  readonly addresses: PerFamily<Ipv4, Ipv6>;
  readonly publicIps: PerFamily<Ipv4, Ipv6>;
  /** Of the first family that the underlay has. */
  readonly address: Ip;
  readonly publicIp: Ip;
}

/** Where a flanneld that runs sends from, whether the host still has these addresses or not. */
export function underlaySaid(
  status: NodeStatus['network'],
): Pick<KnownUnderlay, 'name' | 'address' | 'addresses'> | undefined {
  const [, name, text = ''] = /^(\S+) \((\S+)\)$/.exec(status?.underlay ?? '') ?? [];
  return name === undefined ? undefined : placeWith(name, text, status?.ipv6Address);
}

function placeWith(
  name: string,
  ...texts: readonly (string | undefined)[]
): Pick<KnownUnderlay, 'name' | 'address' | 'addresses'> | undefined {
  const addresses = ipsOf(texts.flatMap((text) => parseIp(text ?? '') ?? []));
  const [address] = valuesOf<Ip, Ip>(addresses);
  return address === undefined ? undefined : { name, address, addresses };
}

/** Each as that of its family, the first that comes. */
function ipsOf(ips: readonly Ip[]): PerFamily<Ipv4, Ipv6> {
  const v4 = ips.find(isIpv4);
  const v6 = ips.find((ip): ip is Ipv6 => !isIpv4(ip));
  return { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) };
}

/**
 * The device with the public IP; behind a NAT the one that flanneld says, or that the tunnel is bound to. These keep the
 * addresses that the host may have lost.
 */
export function underlayOf(
  status: NodeStatus['network'],
  own: Pick<KnownPeer, 'attributes'> | undefined,
  { links, addresses }: FoundInterfaces,
): KnownUnderlay | undefined {
  const texts = [status?.publicIp, status?.publicIpv6];
  const saidIps = texts.flatMap((text) => parseIp(text ?? '') ?? []);
  const { publicIp: v4, publicIpv6: v6 } = own?.attributes ?? {};
  const publicIps = ipsOf(saidIps.length > 0 ? saidIps : [v4, v6].filter((ip) => ip !== undefined));
  const [publicIp] = valuesOf<Ip, Ip>(publicIps);
  if (publicIp === undefined) return undefined;
  const place = underlaySaid(status) ?? placeOfTunnel(links, addresses);
  const has = (ip: Ip): boolean => addresses.some(({ prefix }) => prefix.address === ip);
  const held = valuesOf<Ip, Ip>(publicIps).filter(has);
  const own4or6 = ipsOf([...held, ...valuesOf<Ip, Ip>(place?.addresses ?? {})]);
  const holder = addresses.find(({ prefix }) => prefix.address === publicIp)?.device ?? place?.name;
  const link = links.find(({ name }) => name === holder);
  const [address] = valuesOf<Ip, Ip>(own4or6);
  if (holder === undefined || link === undefined || address === undefined) return undefined;
  return { name: holder, mtu: link.mtu ?? 0, addresses: own4or6, publicIps, address, publicIp };
}

/** Where the overlay's devices send from. */
function placeOfTunnel(
  links: readonly Link[],
  addresses: readonly Address[],
): Pick<KnownUnderlay, 'name' | 'address' | 'addresses'> | undefined {
  const locals: Ip[] = [];
  let name: string | undefined;
  for (const { name: device, vxlan } of links) {
    if (!isVxlanDeviceName(device) || vxlan?.local === undefined) continue;
    const { local, underlay } = vxlan;
    name ??= addresses.find(({ prefix }) => prefix.address === local)?.device ?? underlay;
    locals.push(local);
  }
  const [address] = valuesOf<Ip, Ip>(ipsOf(locals));
  return name === undefined || address === undefined
    ? undefined
    : { name, address, addresses: ipsOf(locals) };
}
