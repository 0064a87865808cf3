import { WeftError } from '#src/lib/errors.ts';
import { type Ip, type Ipv4, type Ipv6, parseIp, parseIpv4, parseIpv6 } from '#src/lib/ip.ts';
import type { PerFamily } from '#src/lib/per-family.ts';
import { compileGoRegex, type MatchText } from '#src/node/underlay/go-regex.ts';

/** The flags that choose the interface, and the addresses that peers send to, as they were given. */
export interface UnderlayFlags {
  readonly iface: readonly string[];
  readonly ifaceRegex: readonly string[];
  readonly ifaceCanReach: string;
  readonly publicIp: string;
  readonly publicIpv6: string;
}

/** One flag's way to name the interface. */
export type Wish = { readonly by: string } & (
  | { readonly kind: 'address'; readonly ip: Ip }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'regex'; readonly matches: MatchText }
  | { readonly kind: 'reach' }
);

/** The flags, read and checked. */
export interface UnderlaySelection {
  /** In flannel's order; none: the default route decides. */
  readonly wishes: readonly Wish[];
  /** `--iface-can-reach` */
  readonly reach: Ip | undefined;
  /** `--public-ip` and `--public-ipv6` */
  readonly publicIp: PerFamily<Ipv4, Ipv6>;
}

/** Throws WeftError `interface` for a value that can't be read. */
export async function readUnderlayFlags(flags: UnderlayFlags): Promise<UnderlaySelection> {
  const v4 = readIp(flags.publicIp, parseIpv4, {
    fault: 'invalid public IP address: ',
    remedy: 'give --public-ip an IPv4 address such as 192.0.2.10',
  });
  const v6 = readIp(flags.publicIpv6, parseIpv6, {
    fault: 'invalid public IPv6 address: ',
    remedy: 'give --public-ipv6 an IPv6 address such as 2001:db8::10',
  });
  const reach = readIp(flags.ifaceCanReach, parseIp, {
    fault: 'invalid address of --iface-can-reach: ',
    remedy: 'give it the address of another host, such as 192.0.2.10 or 2001:db8::10',
  });
  const wishes: Wish[] = flags.iface.map((text): Wish => {
    const ip = parseIp(text);
    const by = `--iface=${text}`;
    return ip === undefined ? { kind: 'name', name: text, by } : { kind: 'address', ip, by };
  });
  for (const text of flags.ifaceRegex)
    wishes.push({ kind: 'regex', matches: await compileGoRegex(text), by: `--iface-regex=${text}` });
  if (reach !== undefined) wishes.push({ kind: 'reach', by: `--iface-can-reach=${flags.ifaceCanReach}` });
  return {
    wishes,
    reach,
    publicIp: { ...(v4 !== undefined && { v4 }), ...(v6 !== undefined && { v6 }) },
  };
}

function readIp<T extends Ip>(
  text: string,
  parse: (text: string) => T | undefined,
  { fault, remedy }: { readonly fault: string; readonly remedy: string },
): T | undefined {
  if (text === '') return undefined;
  const ip = parse(text);
  if (ip !== undefined) return ip;
  throw new WeftError('interface', `${fault}${text}`, { remedy });
}
