import type { BackendPlace, BackendUnderlay } from '#src/backend/backend.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { Ipv4, Prefix4 } from '#src/lib/ip.ts';
import type { Link } from '#src/state/object.ts';

/* What several backends look for before anything is touched, and how they say it. */

/** The network's IPv4, for a backend that carries nothing else. Throws WeftError `backend` where there is none. */
export function ipv4NetworkOf({ network }: Pick<BackendPlace, 'network'>, type: string): Prefix4 {
  if (network.v4 !== undefined) return network.v4;
  throw new WeftError('backend', `the backend ${type} carries IPv4 only, and the network has none`, {
    remedy: 'set "Backend": {"Type": "vxlan"} in the network config',
  });
}

/** For a network with both families. */
export const ipv4OnlyWarning = (type: string): string =>
  `the backend ${type} carries IPv4 only: IPv6 reaches no other host`;

/** The underlay's IPv4 address. Throws WeftError `backend` where there is none. */
export function ipv4UnderlayOf({ name, address }: Pick<BackendUnderlay, 'name' | 'address'>): Ipv4 {
  if (address.v4 !== undefined) return address.v4;
  throw new WeftError('backend', `the interface ${name} has no IPv4 address for the network`, {
    remedy: 'give it one, or choose another with --iface',
  });
}

/** Throws WeftError `backend` where the underlay leaves no room. `who`: what needs `least` bytes. */
export function refuseSmallMtu({ name, mtu }: BackendUnderlay, least: number, who: string): void {
  if (mtu >= least) return;
  throw new WeftError('backend', `the interface ${name} has an MTU of ${mtu}, and ${who} needs ${least}`, {
    remedy: `raise it ("ip link set ${name} mtu 1500"), or choose another with --iface`,
  });
}

/** What is said of an MTU in the network config that the underlay does not have. */
export const mtuWarnings = (given: number | undefined, { name, mtu }: BackendUnderlay): readonly string[] =>
  given === undefined || given <= mtu
    ? []
    : [`Backend.MTU of the network config is ${given}, but the interface ${name} has ${mtu}: using that`];

/** A type of device, by IFLA_INFO_KIND and in words. */
export interface DeviceType {
  readonly kind: string;
  readonly words: string;
}

/** Throws WeftError `foreign-device` where another type of device has the name. */
export function refuseForeign(
  links: readonly Link[],
  device: string,
  { kind, words }: DeviceType,
  otherwise = '',
): void {
  const found = links.find(({ name }) => name === device);
  if (found === undefined || found.type === kind) return;
  throw new WeftError(
    'foreign-device',
    `the device ${device} exists and is no ${words} device (it is a ${found.type ?? 'plain'} one)`,
    { remedy: `rename or remove it ("ip link del ${device}")${otherwise}` },
  );
}
