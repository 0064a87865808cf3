import { WeftError } from '#src/lib/errors.ts';
import { type Ipv4, parseIpv4 } from '#src/lib/ip.ts';
import { compileGoRegex, type MatchText } from '#src/node/underlay/go-regex.ts';

/** The flags that choose the interface, and the address that peers send to, as they were given. */
export interface UnderlayFlags {
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: string;
  readonly publicIp: string;
}

/** One flag's way to name the interface. */
export type Wish = { readonly by: string } & (
  | { readonly kind: 'address'; readonly ip: Ipv4 }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'regex'; readonly matches: MatchText }
  | { readonly kind: 'reach' }
);

/** The flags, read and checked. */
export interface UnderlaySelection {
  /** In flannel's order; none: the default route decides. */
  readonly wishes: readonly Wish[];
  /** `--iface-can-reach` */
  readonly reach: Ipv4 | undefined;
  /** `--public-ip` */
  readonly publicIp: Ipv4 | undefined;
}

/** Throws WeftError `interface` for a value that can't be read. */
export async function readUnderlayFlags(flags: UnderlayFlags): Promise<UnderlaySelection> {
  const publicIp = readIp(flags.publicIp, (text) => `invalid public IP address: ${text}`, '--public-ip');
  const reach = readIp(
    flags.ifaceCanReach,
    (text) => `--iface-can-reach=${text} is not an IPv4 address`,
    '--iface-can-reach',
  );
  const wishes: Wish[] = flags.iface.map((text): Wish => {
    const ip = parseIpv4(text);
    const by = `--iface=${text}`;
    return ip === undefined ? { kind: 'name', name: text, by } : { kind: 'address', ip, by };
  });
  for (const text of flags.ifaceRegex)
    wishes.push({ kind: 'regex', matches: await compileGoRegex(text), by: `--iface-regex=${text}` });
  if (reach !== undefined) wishes.push({ kind: 'reach', by: `--iface-can-reach=${flags.ifaceCanReach}` });
  return { wishes, reach, publicIp };
}

function readIp(text: string, fault: (text: string) => string, flag: string): Ipv4 | undefined {
  if (text === '') return undefined;
  const ip = parseIpv4(text);
  if (ip !== undefined) return ip;
  throw new WeftError('interface', fault(text), {
    remedy: `give ${flag} an IPv4 address such as 192.0.2.10`,
  });
}
