import assert from 'node:assert/strict';
import type { Host } from '#src/lab/host.ts';
import { type Ipv4, ipv4 } from '#src/lib/ip.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { contentOf, readSignature, signedText, withSignature } from '#src/network/signed-lease.ts';
import { loadEd25519, type SigningKey } from '#src/sys/ed25519.ts';
import { PREFIX } from './flanneld.ts';

const ed25519 = await loadEd25519();

/** A lease with a count, and where it is to hold. */
export interface Forgery {
  readonly name: string;
  readonly attributes: LeaseAttributes;
  readonly count: number;
  readonly network?: string;
}

export const newKey = (): SigningKey => ed25519.generate();

/** The key of a host, from its file. */
export async function keyOf(host: Host): Promise<SigningKey> {
  const [, secret = ''] = ((await host.read('/var/lib/weft/node-key')) ?? '').split(' ');
  return ed25519.read(secret) ?? assert.fail(`${host.name} has no key`);
}

/** A lease's value, signed. */
export function forged(key: SigningKey, { name, attributes, count, network = PREFIX }: Forgery): string {
  const content = contentOf(attributes);
  const text = signedText({ network, name }, content, { key: key.publicKey, count });
  return encodeAttributes(withSignature(content, { key: key.publicKey, count, signature: key.sign(text) }));
}

export function attributesIn(value: string): LeaseAttributes {
  const decoded = decodeAttributes(value);
  return decoded.ok ? decoded.attributes : assert.fail(decoded.reason);
}

/** The count of a signed lease. */
export function countIn(value: string): number {
  const read = readSignature(attributesIn(value));
  return read.kind === 'signed' ? read.count : assert.fail(`it is ${read.kind}`);
}

/** What a host in the attacker's hands publishes: 172.16.71.N, with a VTEP MAC of its own. */
export const attackersHost = (n: number): LeaseAttributes & { readonly publicIp: Ipv4 } => ({
  publicIp: ipv4(0xac104700 + n),
  backendType: 'vxlan',
  backendData: { VNI: 1, VtepMAC: `02:00:00:00:09:${n.toString(16).padStart(2, '0')}` },
});
