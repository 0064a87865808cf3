import assert from 'node:assert/strict';
import { test } from 'node:test';
import { artefactsOf, namedNetwork } from '#src/node/network-id.ts';

const PLACES = { stateDir: '/var/lib/weft', subnetFile: '/run/flannel/subnet.env' };

test('the only network of a daemon has the names that earlier versions gave it', () => {
  const { lock, ...artefacts } = artefactsOf({ prefix: '/coreos.com/network' }, PLACES);
  assert.match(lock, /^weft-network-a87dabce5cd3/);
  assert.deepEqual(artefacts, {
    title: '',
    stateFile: '/var/lib/weft/network-a87dabce5cd3.json',
    knownKeysFile: '/var/lib/weft/network-a87dabce5cd3.keys',
    forgetFile: '/var/lib/weft/network-a87dabce5cd3.forget',
    socket: '/var/lib/weft/network-a87dabce5cd3.sock',
    subnetFile: '/run/flannel/subnet.env',
    tag: 'a87dabce',
  });
});

test('nothing of two networks below one prefix has the same name', () => {
  const [blue, red] = ['blue', 'red'].map((name) => artefactsOf(namedNetwork('/n', name), PLACES));
  assert.ok(blue && red);
  for (const [key, value] of Object.entries(blue)) assert.notEqual(red[key as keyof typeof red], value, key);
  assert.equal(blue.subnetFile, '/run/flannel/networks/blue.env');
  assert.equal(
    artefactsOf(namedNetwork('/n', 'blue'), { ...PLACES, subnetFile: '/run/overlays' }).subnetFile,
    '/run/overlays/blue.env',
  );
});

test('a name that would be a path, a key of the network itself, or nothing is refused', () => {
  for (const name of ['', '.', '..', 'a/b', 'config', 'subnets', '-x', 'a b', 'x'.repeat(65)])
    assert.throws(() => namedNetwork('/n', name), { code: 'network-name' }, name);
  for (const name of ['blue', 'Team_7', '10.5', 'x'.repeat(64)])
    assert.equal(namedNetwork('/n', name).prefix, `/n/${name}`);
});
