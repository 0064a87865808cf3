import { type Endpoint, equalEndpoints, formatEndpoint } from '#src/lib/endpoint.ts';
import { equalPrefix, formatPrefix, type Prefix } from '#src/lib/ip.ts';
import { equalSecrets, type Secret } from '#src/lib/secret.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';
import type { Verb } from '#src/state/operation.ts';

/** A peer of a WireGuard device (WGPEER_A_* of linux/wireguard.h). */
export interface WireguardPeer {
  readonly kind: 'wireguard-peer';
  readonly device: string;
  /** base64 of 32 bytes. */
  readonly publicKey: string;
  /**
   * Where packets go until the peer sends from another address: WireGuard then follows the peer (roaming). What was found is
   * what was given, as long as the peer is heard at its own choice (kernel/endpoint-memory.ts). Absent only in what was
   * found.
   */
  readonly endpoint?: Endpoint;
  /** Destinations that go to the peer, and sources that are taken from it. Host bits are clear; in any order. */
  readonly allowedIps: readonly Prefix[];
  readonly presharedKey?: Secret;
  /** Seconds between keepalives; 0 is none. */
  readonly keepalive: number;
}

const formatAllowed = (allowedIps: readonly Prefix[]): string =>
  allowedIps.map(formatPrefix).sort().join(',');

/** A peer has no prefix twice. */
function allowsTheSame(wanted: readonly Prefix[], found: readonly Prefix[]): boolean {
  if (wanted.length !== found.length) return false;
  return wanted.every(
    (prefix, at) =>
      (found[at] !== undefined && equalPrefix(prefix, found[at])) ||
      found.some((other) => equalPrefix(prefix, other)),
  );
}

const isAsWanted = (wanted: WireguardPeer, found: WireguardPeer): boolean =>
  wanted.keepalive === found.keepalive &&
  (wanted.endpoint === undefined || equalEndpoints(wanted.endpoint, found.endpoint)) &&
  allowsTheSame(wanted.allowedIps, found.allowedIps) &&
  equalSecrets(wanted.presharedKey, found.presharedKey);

function differences(wanted: WireguardPeer, found: WireguardPeer): string[] {
  const { texts } = new Differences()
    .field(
      'endpoint',
      wanted.endpoint && formatEndpoint(wanted.endpoint),
      found.endpoint && formatEndpoint(found.endpoint),
    )
    .field('persistent keepalive', wanted.keepalive, found.keepalive);
  if (!allowsTheSame(wanted.allowedIps, found.allowedIps)) {
    const [want, have] = [formatAllowed(wanted.allowedIps), formatAllowed(found.allowedIps)];
    texts.push(`allowed ips: ${have || 'none'}, wanted ${want || 'none'}`);
  }
  if (!equalSecrets(wanted.presharedKey, found.presharedKey)) {
    const have = found.presharedKey === undefined ? 'none' : 'another';
    texts.push(`preshared key: ${have}, wanted ${wanted.presharedKey === undefined ? 'none' : '(hidden)'}`);
  }
  return texts;
}

function format({ device, publicKey, endpoint, allowedIps, presharedKey, keepalive }: WireguardPeer): string {
  const words = [publicKey, 'dev', device];
  if (presharedKey !== undefined) words.push('preshared-key', '(hidden)');
  if (endpoint !== undefined) words.push('endpoint', formatEndpoint(endpoint));
  if (keepalive !== 0) words.push('persistent-keepalive', String(keepalive));
  words.push('allowed-ips', formatAllowed(allowedIps) || '(none)');
  return words.join(' ');
}

function command(verb: Verb, peer: WireguardPeer): string {
  const { device, publicKey, endpoint, allowedIps, presharedKey, keepalive } = peer;
  const words = ['wg set', device, 'peer', publicKey];
  if (verb === 'remove') return [...words, 'remove'].join(' ');
  words.push('preshared-key', presharedKey === undefined ? '/dev/null' : '(hidden)');
  if (endpoint !== undefined) words.push('endpoint', formatEndpoint(endpoint));
  words.push('persistent-keepalive', String(keepalive), 'allowed-ips', formatAllowed(allowedIps) || "''");
  return words.join(' ');
}

/** Equals a peer of `wg show DEVICE`, `wg set DEVICE peer KEY …` and `wg set DEVICE peer KEY remove`. */
export const WIREGUARD_PEER = kindOf<WireguardPeer>({
  name: 'wireguard-peer',
  rank: 3,
  key: ({ publicKey, device }) => `wireguard-peer ${publicKey} dev ${device}`,
  sharesSlot: (a, b) => a.publicKey === b.publicKey && a.device === b.device,
  hash: ({ publicKey }) => publicKey,
  differences,
  isAsWanted,
  deviceOf: ({ device }) => device,
  format,
  command,
});
