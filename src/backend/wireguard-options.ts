import { parseSecretKey } from '#src/backend/wireguard-key.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FamilyName, PerFamily } from '#src/lib/per-family.ts';
import type { Secret } from '#src/lib/secret.ts';
import { sha256Hex } from '#src/lib/sha256.ts';
import type { GoObject } from '#src/network/go-json.ts';

/**
 * `separate`: a device for each family, with an endpoint of the same family. The others: one device for both; its
 * endpoints are IPv4, IPv6, or chosen for each peer.
 */
export type WireguardMode = 'separate' | 'auto' | 'ipv4' | 'ipv6';
const MODES: readonly WireguardMode[] = ['separate', 'auto', 'ipv4', 'ipv6'];

/** The wireguard backend's part of the network config (flannel HEAD, backend/wireguard/wireguard.go). */
export interface WireguardOptions {
  readonly mode: WireguardMode;
  /** UDP ports of `flannel-wg` and `flannel-wg-v6`. Default 51820 and 51821. */
  readonly ports: Required<PerFamily<number>>;
  /** The underlay's MTU to assume, in bytes. Default is the interface's; a larger one counts as that. */
  readonly mtu: number | undefined;
  /** One for all peers. Default none. */
  readonly presharedKey: Secret | undefined;
  /** Seconds between keepalives to each peer; 0 is none, the default. */
  readonly keepalive: number;
}

/** flannel names them so, whatever the network is. */
export const WIREGUARD_DEVICES = { v4: 'flannel-wg', v6: 'flannel-wg-v6' } as const;

/**
 * Bytes that WireGuard adds at most: IPv6 40, UDP 8, its own header 16, tag 16. With an IPv4 endpoint it is 20 less, and
 * flannel reckons with 80 in any case: a peer may come to have the other one.
 */
export const WIREGUARD_OVERHEAD = 80;
/** Of the packets inside (RFC 791, RFC 8200). */
export const LEAST_MTU = { v4: 68, v6: 1280 } as const;

/** Throws WeftError `config`, naming the field. `has`: the families of the network. */
export function readWireguardOptions(
  options: GoObject,
  has: Readonly<Record<FamilyName, boolean>> = { v4: true, v6: false },
): WireguardOptions {
  const mode = options.string('Mode') ?? 'separate';
  if (!isMode(mode)) throw options.error('Mode', `no valid Mode configured: there are ${MODES.join(', ')}`);
  const ports = {
    v4: options.integer('ListenPort', 1, 65_535) ?? 51_820,
    v6: options.integer('ListenPortV6', 1, 65_535) ?? 51_821,
  };
  // A device listens in both families.
  if (mode === 'separate' && has.v4 && has.v6 && ports.v4 === ports.v6) {
    throw options.error(
      'ListenPortV6',
      'the two devices of a network with IPv4 and IPv6 can not listen on one port: choose another, or "Mode": "auto"',
    );
  }
  const mtu = options.integer('MTU', 0, 65_535) || undefined;
  const least = LEAST_MTU[has.v6 ? 'v6' : 'v4'] + WIREGUARD_OVERHEAD;
  if (mtu !== undefined && mtu < least)
    throw options.error('MTU', `an MTU below ${least} leaves no packet room`);
  return {
    mode,
    ports,
    mtu,
    presharedKey: readPresharedKey(options),
    keepalive: options.integer('PersistentKeepaliveInterval', 0, 65_535) ?? 0,
  };
}

const isMode = (text: string): text is WireguardMode => MODES.some((mode) => mode === text);

/** Its value is in no message. */
function readPresharedKey(options: GoObject): Secret | undefined {
  const text = options.raw('PSK');
  if (text === undefined || text === null || text === '') return undefined;
  const key = typeof text === 'string' ? parseSecretKey(text) : undefined;
  if (key !== undefined) return key;
  throw new WeftError(
    'config',
    'could not parse psk: Backend.PSK must be 32 bytes in base64, 44 characters',
    {
      remedy: 'make one with "wg genpsk"',
    },
  );
}

/** By what a change of a preshared key is noticed. It says nothing of a key that was made by chance. */
export function markOf(key: Secret | undefined): string | undefined {
  if (key === undefined) return undefined;
  const bytes = Buffer.alloc(key.length);
  key.copyTo(bytes);
  const mark = sha256Hex(`weft psk ${bytes.toString('base64')}`).slice(0, 8);
  bytes.fill(0);
  return `(hidden ${mark})`;
}
