import assert from 'node:assert/strict';
import { formatIp, formatPrefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import type { HostFacts } from '#src/node/underlay/host-facts.ts';
import { formatAddresses, type Underlay } from '#src/node/underlay/underlay.ts';
import type { UnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { type Address, type AddressFlags, type Link, type Route, RTPROT_BOOT } from '#src/state/object.ts';

export const prefix = (text: string) => parsePrefix(text) ?? assert.fail(text);

/**
 * A host in iproute2's words: `link eth0 [down] [mtu N]`, `eth0 192.0.2.10/24`, `eth0 fd00::1/64 temporary`, `default [via IP]
 * dev eth0 [metric N]`, `default6 dev eth0`, `reach eth0 [src IP]`.
 */
export function host(...lines: readonly string[]): HostFacts {
  const links: Link[] = [];
  const addresses: Address[] = [];
  const routes: Route[] = [];
  let reach: HostFacts['reach'];
  for (const line of lines) {
    const words = line.split(' ');
    const [first = '', second = ''] = words;
    const after = (word: string): string | undefined =>
      words.includes(word) ? words[words.indexOf(word) + 1] : undefined;
    if (first === 'link') {
      const mtu = Number(after('mtu') ?? 1500);
      links.push({ kind: 'link', name: second, index: links.length + 1, up: !words.includes('down'), mtu });
    } else if (first === 'default' || first === 'default6') {
      const via = parseIp(after('via') ?? '');
      routes.push({
        kind: 'route',
        destination: prefix(first === 'default' ? '0.0.0.0/0' : '::/0'),
        type: 'unicast',
        device: after('dev') ?? '',
        ...(via !== undefined && { via }),
        onlink: false,
        metric: Number(after('metric') ?? 0),
        protocol: RTPROT_BOOT,
        scope: 0,
      });
    } else if (first === 'reach') {
      const source = parseIp(after('src') ?? '');
      reach = { device: second, ...(source !== undefined && { source }) };
    } else {
      const flags: AddressFlags = Object.fromEntries(words.slice(2).map((word) => [word, true]));
      addresses.push({ kind: 'address', device: first, prefix: prefix(second), flags });
    }
  }
  return { links, addresses, routes, ...(reach !== undefined && { reach }) };
}

export const NO_FLAGS: UnderlayFlags = {
  iface: [],
  ifaceRegex: [],
  ifaceCanReach: '',
  publicIp: '',
  publicIpv6: '',
};

export const describe = ({ name, address, publicIp, mtu, prefixes, gateways }: Underlay): string =>
  [
    `${name} ${formatAddresses(address)} mtu ${mtu}`,
    formatAddresses(publicIp) === formatAddresses(address) ? '' : `public ${formatAddresses(publicIp)}`,
    `in ${prefixes.map(formatPrefix).join(' ')}`,
    gateways.length === 0 ? '' : `via ${gateways.map(formatIp).join(' ')}`,
  ]
    .filter(Boolean)
    .join(', ');
