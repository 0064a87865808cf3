import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/** A kernel setting below /proc/sys. */
export interface Sysctl {
  readonly kind: 'sysctl';
  /** As the file's path: `net/ipv4/ip_forward`. Dots would be ambiguous in a device's name. */
  readonly path: string;
  /** Absent only in what was found: this kernel has no such setting. */
  readonly value?: string;
}

/** `net/ipv4/conf/flannel.1/forwarding` belongs to a device, and comes and goes with it; `all` and `default` are none. */
function deviceOf({ path }: Sysctl): string | undefined {
  const [, device] = /^net\/ipv[46]\/(?:conf|neigh)\/([^/]+)\//.exec(path) ?? [];
  return device === 'all' || device === 'default' ? undefined : device;
}

const format = ({ path, value }: Sysctl): string => `${path}=${value ?? ''}`;

export const SYSCTL = kindOf<Sysctl>({
  name: 'sysctl',
  rank: 7,
  key: ({ path }) => `sysctl ${path}`,
  sharesSlot: (a, b) => a.path === b.path,
  hash: ({ path }) => path,
  // A setting that this kernel does not have is left alone.
  differences: (wanted, found) =>
    found.value === undefined ? [] : new Differences().field('value', wanted.value, found.value).texts,
  deviceOf,
  format,
  command: (verb, sysctl) =>
    verb === 'remove' ? `# nothing removes ${sysctl.path}` : `sysctl -w ${format(sysctl)}`,
});
