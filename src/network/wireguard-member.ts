import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';

/** A public key, and the UDP ports at which its holder listens for it. */
export interface WireguardKey {
  /** Base64 of its 32 bytes, as `wg pubkey` prints it. */
  readonly publicKey: string;
  readonly port: number;
  /** Where IPv6 has a device of its own; absent where one device serves both. */
  readonly portV6?: number;
}

/** A key with its number: each rotation of the network has the next one. */
export interface NumberedKey extends WireguardKey {
  readonly generation: number;
}

/** What a weft says of its WireGuard keys in `Weft.Wireguard` of its lease. flannel ignores it. */
export interface WireguardMember {
  /** The key of the tunnel around another backend; backend `wireguard` has its key in BackendData. */
  readonly tunnel?: WireguardKey;
  /** Number of the key in BackendData. Present where the node takes part in rotations. */
  readonly generation?: number;
  /** The key that takes its place next: peers shake hands with it before anything depends on it. */
  readonly next?: NumberedKey;
}

/** The member's name in `Weft`. */
export const WIREGUARD_MEMBER = 'Wireguard';

/** Reads the member. Values come from strangers: what can't be read is absent. */
export function readWireguardMember({ weft }: Pick<LeaseAttributes, 'weft'>): WireguardMember {
  const object = weft?.[WIREGUARD_MEMBER];
  if (!isJsonObject(object)) return {};
  const tunnel = readKey(object);
  const generation = readNumber(fieldOf(object, 'Generation'), HIGHEST_GENERATION);
  const next = readNext(fieldOf(object, 'Next'));
  return {
    ...(tunnel !== undefined && { tunnel }),
    ...(generation !== undefined && { generation }),
    // A next key means something only where the present one has a number.
    ...(generation !== undefined && next !== undefined && { next }),
  };
}

/** `{"Generation":3,"Next":{"Generation":4,"PublicKey":"…","Port":51830}}`; `undefined` where there is nothing to say. */
export function writeWireguardMember({ tunnel, generation, next }: WireguardMember): Json | undefined {
  if (tunnel === undefined && generation === undefined) return undefined;
  return {
    ...(tunnel !== undefined && writeKey(tunnel)),
    ...(generation !== undefined && { Generation: generation }),
    ...(next !== undefined && { Next: { Generation: next.generation, ...writeKey(next) } }),
  };
}

/** Base64 of 32 bytes that are not all zero. The last letter holds four bits, so not each letter can stand there. */
export const isPublicKey = (text: unknown): text is string =>
  typeof text === 'string' && /^(?!A{43}=)[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/.test(text);

function readNext(value: Json | undefined): NumberedKey | undefined {
  if (!isJsonObject(value)) return undefined;
  const [key, generation] = [readKey(value), readNumber(fieldOf(value, 'Generation'), HIGHEST_GENERATION)];
  return key === undefined || generation === undefined ? undefined : { ...key, generation };
}

function readKey(object: { readonly [name: string]: Json }): WireguardKey | undefined {
  const publicKey = fieldOf(object, 'PublicKey');
  const port = readNumber(fieldOf(object, 'Port'), 65_535);
  const portV6 = readNumber(fieldOf(object, 'PortV6'), 65_535);
  if (!isPublicKey(publicKey) || port === undefined || port === 0) return undefined;
  return { publicKey, port, ...(portV6 !== undefined && portV6 > 0 && { portV6 }) };
}

const writeKey = ({ publicKey, port, portV6 }: WireguardKey): { readonly [name: string]: Json } => ({
  PublicKey: publicKey,
  Port: port,
  ...(portV6 !== undefined && { PortV6: portV6 }),
});

/** A number near the end of what can be counted would stop all rotations to come. */
const HIGHEST_GENERATION = 1_000_000_000;

const readNumber = (value: Json | undefined, highest: number): number | undefined =>
  typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= highest ? value : undefined;
