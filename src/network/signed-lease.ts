import { formatIpv4, formatIpv6, ipv4 } from '#src/lib/ip.ts';
import { isJsonObject } from '#src/network/go-json.ts';
import type { Json, LeaseAttributes } from '#src/network/lease.ts';

/**
 * What a lease says about who wrote it, in two members of its field `Weft`:
 *
 *     "Weft":{"Key":"<public key>","Signed":{"Count":1764297785000,"Signature":"<signature>"}}
 *
 * `Key` is an Ed25519 public key (32 bytes) and `Signature` a signature (64 bytes), both in base64url without padding.
 * `Count` rises with each signature of a node: it is the time in milliseconds, and more than the last one.
 */
export interface LeaseSignature {
  readonly key: string;
  readonly count: number;
  readonly signature: string;
}

export type SignatureRead =
  | { readonly kind: 'unsigned' }
  | ({ readonly kind: 'signed' } & LeaseSignature)
  | { readonly kind: 'unreadable'; readonly reason: string };

/** Where a lease stands: its signature holds there and nowhere else. */
export interface LeasePlace {
  /** See {@link networkOf}. */
  readonly network: string;
  /** The lease's name in the registry. */
  readonly name: string;
}

/** The key below which a network is kept, as all hosts write it: etcd v2 wants one slash in front, and v3 none in particular. */
export const networkOf = (prefix: string): string => `/${prefix.split('/').filter(Boolean).join('/')}`;

/** Reads what others wrote. Whether the signature is valid is another question. Never throws. */
export function readSignature({ weft }: LeaseAttributes): SignatureRead {
  const { Key, Signed } = weft ?? {};
  if (Key === undefined && Signed === undefined) return { kind: 'unsigned' };
  if (typeof Key !== 'string' || Key.length !== KEY_LENGTH) return unreadable('it has no key');
  if (!isJsonObject(Signed)) return unreadable('it is not an object');
  const { Count, Signature } = Signed;
  if (typeof Count !== 'number' || !Number.isSafeInteger(Count) || Count < 1)
    return unreadable('its Count is not a whole number');
  if (typeof Signature !== 'string' || Signature.length !== SIGNATURE_LENGTH)
    return unreadable('its Signature has another length');
  return { kind: 'signed', key: Key, count: Count, signature: Signature };
}

const KEY_LENGTH = 43;
const SIGNATURE_LENGTH = 86;

const unreadable = (why: string): SignatureRead => ({
  kind: 'unreadable',
  reason: `its signature can not be read: ${why}`,
});

/**
 * The text that is signed: all that a weft reads of the lease, and where it stands. It is made of what was read and not of
 * the value's text, so that a value that a flannel or `jq` wrote again keeps its signature as long as it says the same. Of a
 * repeated name the last one counts, as for every reader. `undefined` and null are two things.
 */
export function signedText(
  { network, name }: LeasePlace,
  attributes: LeaseAttributes,
  { key, count }: Pick<LeaseSignature, 'key' | 'count'>,
): string {
  const { publicIp, publicIpv6, backendType, backendData, backendV6Data, node } = attributes;
  const orNone = (value: Json | undefined): readonly Json[] => (value === undefined ? [] : [value]);
  return JSON.stringify([
    FORMAT,
    network,
    name,
    formatIpv4(publicIp ?? ipv4(0)),
    orNone(publicIpv6 === undefined ? undefined : formatIpv6(publicIpv6)),
    backendType,
    orNone(backendData),
    orNone(backendV6Data),
    orNone(node),
    contentOf(attributes).weft ?? {},
    key,
    count,
  ]);
}

/** No other text that is signed with a node's key begins like this. */
const FORMAT = 'weft lease 1';

/** The attributes without key and signature. */
export function contentOf(attributes: LeaseAttributes): LeaseAttributes {
  if (attributes.weft === undefined) return attributes;
  const { weft, ...rest } = attributes;
  const { Key: _key, Signed: _signed, ...others } = weft;
  return Object.keys(others).length === 0 ? rest : { ...rest, weft: others };
}

/** The attributes with this key and signature, and no other. */
export function withSignature(
  attributes: LeaseAttributes,
  { key, count, signature }: LeaseSignature,
): LeaseAttributes {
  return {
    ...attributes,
    weft: {
      ...contentOf(attributes).weft,
      Key: key,
      Signed: { Count: count, Signature: signature },
    },
  };
}
