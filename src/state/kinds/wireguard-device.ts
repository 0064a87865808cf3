import type { Secret } from '#src/lib/secret.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';
import type { Verb } from '#src/state/operation.ts';

/**
 * What a WireGuard device has besides what every link has (WGDEVICE_A_* of linux/wireguard.h). It comes and goes with its
 * link, so it is only ever set.
 */
export interface WireguardDevice {
  readonly kind: 'wireguard-device';
  readonly device: string;
  /** base64 of 32 bytes. Follows from the private key, and stands for it in comparisons. */
  readonly publicKey: string;
  /** Only in what is wanted: what was found is not read. */
  readonly privateKey?: Secret;
  /** UDP port on which it listens, in both families. */
  readonly listenPort: number;
  /** SO_MARK of the outer packets; 0 is none. */
  readonly fwmark: number;
}

const format = ({ device, publicKey, listenPort, fwmark }: WireguardDevice): string =>
  `dev ${device} public-key ${publicKey} listen-port ${listenPort}${fwmark === 0 ? '' : ` fwmark ${fwmark}`}`;

const command = (verb: Verb, { device, listenPort, fwmark }: WireguardDevice): string =>
  verb === 'remove'
    ? `# the key of ${device} goes with the device`
    : `wg set ${device} private-key (hidden) listen-port ${listenPort} fwmark ${fwmark}`;

/** Equals what `wg show DEVICE` prints above its peers, and `wg set DEVICE private-key … listen-port … fwmark …`. */
export const WIREGUARD_DEVICE = kindOf<WireguardDevice>({
  name: 'wireguard-device',
  rank: 1,
  isRemovable: false,
  key: ({ device }) => `wireguard-device ${device}`,
  sharesSlot: (a, b) => a.device === b.device,
  hash: ({ device }) => device,
  differences: (wanted, found) =>
    new Differences()
      .field('public key', wanted.publicKey, found.publicKey)
      .field('listen port', wanted.listenPort, found.listenPort)
      .field('fwmark', wanted.fwmark, found.fwmark).texts,
  isAsWanted: (wanted, found) =>
    wanted.publicKey === found.publicKey &&
    wanted.listenPort === found.listenPort &&
    wanted.fwmark === found.fwmark,
  deviceOf: ({ device }) => device,
  format,
  command,
});
