import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { messageOf } from '#src/lib/errors.ts';
import { NodeSecrets } from '#src/node/backend-secrets.ts';
import { systemSecretFiles } from '#src/sys/secret-files.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

const WANTED = ['wireguard-key'] as const;
const secretsIn = (keyFile: string) => new NodeSecrets(systemSecretFiles, { keyFile });

/** The pair of x25519.test.ts. */
const PRIVATE = 'dwdtCnMYpX08FsFyUbJmRcb446HR5eHw1PjC8KOxwtM=';
const PUBLIC = 'Z4hxpY/uWwMkdtyJBAHYiMB17oUwg+UR2EeRwzwA6ms=';

test('no key is read where none is asked for', async () => {
  assert.deepEqual(await secretsIn('/dev/null').read([]), {});
});

test('a key is made as flannel makes it: 0400, 44 characters, no newline, in a folder of 0755', async (t) => {
  const path = `${scratchFolder(t)}/run/flannel/wgkey`;
  const { wireguardKey } = await secretsIn(path).read(WANTED);
  const text = readFileSync(path, 'latin1');
  assert.match(text, /^[A-Za-z0-9+/]{43}=$/);
  assert.equal(statSync(path).mode & 0o7777, 0o400);
  assert.equal(statSync(`${path}/..`.replace('/wgkey/..', '')).mode & 0o7777, 0o755);
  const again = await secretsIn(path).read(WANTED);
  assert.equal(again.wireguardKey?.publicKey, wireguardKey?.publicKey);
  assert.ok(wireguardKey && again.wireguardKey?.privateKey.equals(wireguardKey.privateKey));
  assert.ok(!inspect(wireguardKey, { depth: 9 }).includes(text));
});

for (const [name, text] of [
  ['of flannel', PRIVATE],
  ['of wg genkey', `${PRIVATE}\n`],
]) {
  test(`a key ${name} is taken as it is`, async (t) => {
    const path = `${scratchFolder(t)}/key`;
    writeFileSync(path, text ?? '');
    assert.equal((await secretsIn(path).read(WANTED)).wireguardKey?.publicKey, PUBLIC);
    assert.equal(readFileSync(path, 'latin1'), text);
  });
}

for (const text of ['', 'x', `${PRIVATE} `, `${PRIVATE}${PRIVATE}`, PRIVATE.slice(1)]) {
  test(`the text ${JSON.stringify(text)} is no key, and its value is in no message`, async (t) => {
    const path = `${scratchFolder(t)}/key`;
    writeFileSync(path, text);
    await assert.rejects(secretsIn(path).read(WANTED), (error: Error) => {
      assert.match(error.message, /^could not parse private key from file .*\/key: it has to be 32 bytes/);
      assert.doesNotMatch(messageOf(error), /[A-Za-z0-9+/]{20}=/);
      return true;
    });
    assert.equal(readFileSync(path, 'latin1'), text);
  });
}

test('several processes that start at one instant have one key', async (t) => {
  const path = `${scratchFolder(t)}/wgkey`;
  const keys = await Promise.all(Array.from({ length: 5 }, () => secretsIn(path).read(WANTED)));
  assert.equal(new Set(keys.map(({ wireguardKey }) => wireguardKey?.publicKey)).size, 1);
});

test('a plan writes nothing', async (t) => {
  const path = `${scratchFolder(t)}/wgkey`;
  assert.ok((await secretsIn(path).looking.read(WANTED)).wireguardKey);
  assert.throws(() => statSync(path), /ENOENT/);
});

test('a file that can not be made is named', async (t) => {
  const folder = `${scratchFolder(t)}/file`;
  writeFileSync(folder, '');
  await assert.rejects(secretsIn(`${folder}/wgkey`).read(WANTED), /can not read the WireGuard key .*ENOTDIR/);
  const directory = `${scratchFolder(t)}/key`;
  mkdirSync(directory);
  chmodSync(directory, 0o700);
  await assert.rejects(secretsIn(directory).read(WANTED), /can not read the WireGuard key .*EISDIR/);
});
