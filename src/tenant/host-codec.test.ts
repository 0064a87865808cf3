import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIp } from '#src/lib/ip.ts';
import { formatAlive, formatHost, type HostRecord, parseHost } from '#src/tenant/host-codec.ts';

const ID = '1b671a64-40d5-491e-99b0-da01ff1f3341';
const NETWORK = 'ab'.repeat(32);
const HOST: HostRecord = {
  id: ID,
  hostName: 'node-1.example',
  vtep: parseIp('192.168.0.1') ?? assert.fail(),
  bootId: '3a8e2f1c-7a55-4e0e-9b0a-6f7c1f9a2f10',
  version: '0.1.0',
  docker: { [NETWORK]: 'blue' },
  removed: ['red'],
};

test('the text of a host, and of its sign of life', () => {
  assert.equal(
    formatHost(HOST),
    `{"hostName":"node-1.example","vtep":"192.168.0.1","bootId":"${HOST.bootId}","version":"0.1.0","docker":{"${NETWORK}":"blue"},"removed":["red"]}`,
  );
  assert.equal(formatAlive(HOST), `{"vtep":"192.168.0.1","bootId":"${HOST.bootId}","version":"0.1.0"}`);
});

test('what was written is read', () => {
  assert.deepEqual(parseHost(ID, formatHost(HOST)), { ok: true, value: HOST });
});

test('when a host last lived is written and read', () => {
  const seen = { ...HOST, seen: 1_764_201_600_000 };
  assert.match(formatHost(seen), /,"seen":1764201600000\}$/);
  assert.deepEqual(parseHost(ID, formatHost(seen)), { ok: true, value: seen });
  assert.deepEqual(parseHost(ID, formatHost(HOST).replace(/\}$/, ',"seen":-1}')).ok, false);
});

test('fields of a later version are ignored, and stay when the value is written again', () => {
  const later = formatHost(HOST).replace(/\}$/, ',"zone":"b"}');
  assert.deepEqual(parseHost(ID, later), { ok: true, value: HOST });
  assert.equal(formatHost(HOST, later), later);
});

test('what is no network of Docker’s or no tenant is left out of lists, and refused as a value', () => {
  const value = (change: object): string => JSON.stringify({ ...JSON.parse(formatHost(HOST)), ...change });
  const parsed = parseHost(
    ID,
    value({ docker: { junk: 'blue', __proto__: null }, removed: ['a/b', 5, 'green'] }),
  );
  assert.ok(parsed.ok);
  assert.deepEqual([parsed.value.docker, parsed.value.removed], [{}, ['green']]);
  const reasons = [
    [{ docker: { [NETWORK]: '../x' } }, `its docker.${NETWORK} must be the name of a tenant, it is "../x"`],
    [{ docker: 'x' }, 'its docker must be an object, it is "x"'],
    [{ hostName: 'two\nlines' }, 'its hostName must be the name of a host, it is "two\\nlines"'],
    [{ vtep: '0.0.0.0' }, 'its vtep must be an address that a host can have, it is "0.0.0.0"'],
    [{ bootId: undefined }, 'it has no bootId'],
    [{ removed: {} }, 'its removed must be a list of names of tenants, it is {}'],
  ] as const;
  for (const [change, reason] of reasons)
    assert.deepEqual(parseHost(ID, value(change)), { ok: false, reason });
  assert.equal(parseHost('a/b', formatHost(HOST)).ok, false);
});
