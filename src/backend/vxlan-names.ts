import type { Link } from '#src/state/object.ts';

/**
 * The two names that a network has for its devices of one VNI. Linux takes two devices with one VNI and two UDP ports, which is what
 * a change of the port needs, and the second one needs another name. Both are as long, and begin with `flannel`: network managers
 * are kept away from such devices. The second name ends with the next boot, or with the next change of the port.
 */
export type DeviceNames = 'usual' | 'spare';

const SEPARATORS = { usual: '.', spare: '-' } as const;
const BASES = { v4: 'flannel', v6: 'flannel-v6' } as const;

/** `flannel.1` or `flannel-v6.1` for VNI 1, as flannel names them; the spare ones are `flannel-1` and `flannel-v6-1`. */
export const vxlanDeviceName = (
  vni: number,
  family: keyof typeof BASES = 'v4',
  names: DeviceNames = 'usual',
): string => `${BASES[family]}${SEPARATORS[names]}${vni}`;

/** A device of weft's or flannel's vxlan backend, whatever the VNI. */
export const isVxlanDeviceName = (name: string): boolean => /^flannel(-v6)?[.-]\d+$/.test(name);

interface Way {
  readonly vni: number;
  readonly port: number;
}

/** The other path of a network that has two. */
export interface OtherWay extends Way {
  /** It was there first. */
  readonly isOld: boolean;
}

/**
 * Which names the devices of this VNI and port have on a host with these links: those that they have already. So a start after a
 * change of the port goes on with the device that there is.
 */
export function namesFor(wanted: Way, links: readonly Link[], other?: OtherWay): DeviceNames {
  const { vni } = wanted;
  const portsOf = (names: DeviceNames): readonly (number | undefined)[] => {
    const devices = FAMILIES.map((family) => vxlanDeviceName(vni, family, names));
    return links.flatMap(({ name, vxlan }) => (devices.includes(name) ? [vxlan?.port] : []));
  };
  const withPort = (port: number) => NAMES.find((names) => portsOf(names).includes(port));
  const found = withPort(wanted.port);
  if (found !== undefined) return found;
  if (other !== undefined && other.vni === vni && other.port !== wanted.port) {
    const taken = withPort(other.port) ?? (other.isOld ? 'usual' : 'spare');
    return taken === 'usual' ? 'spare' : 'usual';
  }
  // One with a port of before: it is made again under its name, so that none is left.
  return portsOf('usual').length === 0 && portsOf('spare').length > 0 ? 'spare' : 'usual';
}

export const NAMES: readonly DeviceNames[] = ['usual', 'spare'];
const FAMILIES = ['v4', 'v6'] as const;
