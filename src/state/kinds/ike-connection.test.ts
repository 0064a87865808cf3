import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { Secret } from '#src/lib/secret.ts';
import { IKE_CONNECTION, type IkeConnection } from '#src/state/kinds/ike-connection.ts';

const wanted: IkeConnection = {
  kind: 'ike-connection',
  local: parseIp('192.0.2.1') as Ip,
  remote: parseIp('192.0.2.2') as Ip,
  localSubnet: parsePrefix('10.5.1.0/24') as Prefix,
  remoteSubnet: parsePrefix('10.5.2.0/24') as Prefix,
  proposal: 'aes128gcm16',
  encapsulated: false,
  secret: Secret.ofText('s3cr3t'),
  isUp: true,
};
const { proposal: _, encapsulated: __, secret: ___, ...unknown } = wanted;

test('what charon does not say again counts as different, and no text shows the key', () => {
  assert.deepEqual(IKE_CONNECTION.differences(wanted, { ...unknown, isUp: false }), [
    'ESP proposal: none, wanted aes128gcm16',
    'UDP encapsulation: none, wanted false',
    'agreed: false, wanted true',
    'key: not that of the network config',
  ]);
  const other = { ...wanted, secret: Secret.ofText('other') };
  assert.deepEqual(IKE_CONNECTION.differences(wanted, other), ['key: not that of the network config']);
  assert.equal(IKE_CONNECTION.isAsWanted(wanted, { ...wanted, secret: Secret.ofText('s3cr3t') }), true);
  for (const verb of ['add', 'replace', 'remove'] as const)
    assert.doesNotMatch(`${IKE_CONNECTION.command(verb, wanted)} ${IKE_CONNECTION.format(wanted)}`, /s3cr3t/);
});
