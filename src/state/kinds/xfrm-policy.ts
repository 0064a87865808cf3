import { equalPrefix, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import { Differences } from '#src/state/differences.ts';
import { addressHash, kindOf } from '#src/state/kind.ts';

/** What has to be done to packets from one prefix to another: pass through an IPsec tunnel, be dropped, or go as they are. */
export interface XfrmPolicy {
  readonly kind: 'xfrm-policy';
  /** Which packets: sent, received for this host, or forwarded after they came in. */
  readonly direction: PolicyDirection;
  readonly source: Prefix;
  readonly destination: Prefix;
  readonly action: 'allow' | 'block';
  /** Of several policies for a packet the least counts. flannel's have 0. */
  readonly priority: number;
  /** Absent where packets need no tunnel. */
  readonly tunnel?: EspTunnel;
  /** Only ever found: what a policy asks for that is none of weft's kinds of tunnel, in iproute2's words. */
  readonly other?: string;
}

export type PolicyDirection = 'in' | 'out' | 'fwd';

/** ESP in tunnel mode (RFC 4303). */
export interface EspTunnel {
  readonly source: Ip;
  readonly destination: Ip;
  /** By which the kernel finds the state, with its keys, for a policy. flannel's is 11. */
  readonly requestId: number;
}

const tunnelText = ({ source, destination, requestId }: EspTunnel): string =>
  `tmpl src ${formatIp(source)} dst ${formatIp(destination)} proto esp reqid ${requestId} mode tunnel`;

const selector = ({ source, destination, direction }: XfrmPolicy): string =>
  `src ${formatPrefix(source)} dst ${formatPrefix(destination)} dir ${direction}`;

const through = ({ tunnel, other }: XfrmPolicy): string | undefined =>
  other ?? (tunnel && tunnelText(tunnel));

const format = (policy: XfrmPolicy): string =>
  [
    selector(policy),
    ...(policy.action === 'block' ? ['action block'] : []),
    ...(policy.priority === 0 ? [] : [`priority ${policy.priority}`]),
    ...[through(policy) ?? []].flat(),
  ].join(' ');

export const XFRM_POLICY = kindOf<XfrmPolicy>({
  name: 'xfrm-policy',
  // Before the routes that packets would take without it.
  rank: 5,
  key: (policy) => `xfrm-policy ${selector(policy)}`,
  sharesSlot: (a, b) =>
    a.direction === b.direction &&
    equalPrefix(a.source, b.source) &&
    equalPrefix(a.destination, b.destination),
  hash: ({ source, destination }) => {
    const [from, to] = [source.address, destination.address];
    return typeof from === 'number' && typeof to === 'number'
      ? addressHash(from ^ to)
      : BigInt(from) ^ BigInt(to);
  },
  differences: (wanted, found) =>
    new Differences()
      .field('action', wanted.action, found.action)
      .field('priority', wanted.priority, found.priority)
      .field('tunnel', through(wanted) ?? 'none', through(found) ?? 'none').texts,
  deviceOf: () => undefined,
  format,
  command: (verb, policy) => {
    if (verb === 'remove') return `ip xfrm policy delete ${selector(policy)}`;
    return `ip xfrm policy ${verb === 'add' ? 'add' : 'update'} ${format(policy)}`;
  },
});
