import assert from 'node:assert/strict';
import { readChangeMember, writeChangeMember } from '#src/network/change-member.ts';
import type { LeaseAttributes } from '#src/network/lease.ts';
import { decodeAttributes, encodeAttributes } from '#src/network/lease-codec.ts';
import { readSignature, signedText } from '#src/network/signed-lease.ts';
import { parseTrustedKeys } from '#src/network/trusted-keys.ts';
import { readWireguardMember, writeWireguardMember } from '#src/network/wireguard-member.ts';
import type { Random } from './random.ts';
import { pure, reads } from './readers.ts';

const KEY = 'A'.repeat(43);
const LEASES = [
  `{"PublicIP":"192.0.2.1","PublicIPv6":"fd77::1","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"},"Node":"n","Weft":{"Key":"${KEY}","Signed":{"Count":7,"Signature":"${'B'.repeat(86)}"}}}`,
  `{"PublicIP":"192.0.2.1","BackendType":"wireguard","BackendData":{"PublicKey":"${KEY}=","Port":51820},"Weft":{"Wireguard":{"PublicKey":"${KEY}=","Port":51820,"Generation":3,"Next":{"Generation":4,"PublicKey":"${KEY}=","Port":51830,"PortV6":51831}}}}`,
  '{"PublicIP":"192.0.2.1","BackendType":"vxlan","Weft":{"Change":{"Id":"a","Phase":"moving","Other":{"BackendType":"vxlan","BackendData":{"VNI":7}},"Done":3,"Of":4,"Waits":{"10.0.93.0-24":"why"},"Trouble":"t","RpFilter":{"eth0":"1"}}}}',
] as const;
/** Values of any type, in the place of those that a lease has. */
const VALUES = [
  'null',
  '-1',
  '1e400',
  '[]',
  '{}',
  '""',
  'true',
  '{"__proto__":1}',
  '9007199254740993',
] as const;

/** A lease's value with bytes that are changed, and one that stays JSON with some value replaced. */
function lease(random: Random): string {
  const sample = random.pick(LEASES);
  if (random.once(2)) return random.mutate(Buffer.from(sample)).toString(random.pick(['utf8', 'latin1']));
  const parts = sample.split(/(?<=":)(?:\d+|"[^"]*")/);
  const at = random.int(parts.length);
  return parts
    .map((part, index) => (index === 0 ? part : `${index === at ? random.pick(VALUES) : '1'}${part}`))
    .join('');
}

export const leases = pure(
  'leases',
  'leases that others wrote: signature, WireGuard keys, change',
  (random) => {
    const text = lease(random);
    reads(() => {
      const decoded = decodeAttributes(text);
      if (!decoded.ok) return;
      const { attributes } = decoded;
      readSignature(attributes);
      const place = { network: '/coreos.com/network', name: '10.0.1.0-24' };
      signedText(place, attributes, { key: KEY, count: 1 });
      again(attributes);
    });
  },
);

/** What was read and is written again says the same. */
function again(attributes: LeaseAttributes): void {
  encodeAttributes(attributes);
  const keys = readWireguardMember(attributes);
  const written = writeWireguardMember(keys);
  if (written !== undefined) assert.deepEqual(readWireguardMember({ weft: { Wireguard: written } }), keys);
  const change = readChangeMember(attributes);
  if (change === undefined) return;
  const once = readChangeMember({ weft: { Change: writeChangeMember(change) } });
  assert.equal(once?.id, change.id);
}

const TRUSTED = [
  `# web1\n${KEY} 10.0.65.0/24\n\n${KEY} any\n`,
  `${KEY}\t10.0.65.0/24 fd00::/64\r\n${'x'.repeat(43)} any # more\n`,
] as const;

export const trust = pure('trust', 'the file of --trust-file', (random) => {
  const sample = random.pick(TRUSTED).repeat(1 + random.int(4));
  reads(() => parseTrustedKeys(random.mutate(Buffer.from(sample)).toString(), '/etc/weft/trusted-keys'));
});
