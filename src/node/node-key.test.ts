import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Logger } from '#src/lib/log.ts';
import { nodeKeyFile, readNodeKey } from '#src/node/node-key.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';

async function setUp(t: TestContext) {
  const stateDir = await mkdtemp(join(tmpdir(), 'node-key-'));
  t.after(() => rm(stateDir, { recursive: true }));
  const host = { machine: 'one\n', said: [] as string[] };
  const log: Logger = {
    info: (text) => void host.said.push(text),
    warning: (text) => void host.said.push(text),
    error: (text) => void host.said.push(text),
    verbose: () => {},
  };
  const files: Files = {
    ...systemFiles,
    read: async (path) => (path === '/etc/machine-id' ? host.machine : systemFiles.read(path)),
  };
  const read = (options: { readonly makes?: boolean; readonly keeps?: boolean } = {}) =>
    readNodeKey({ files, log }, { stateDir, makes: true, ...options });
  return { host, stateDir, path: nodeKeyFile(stateDir), read };
}

test('a host that trusts gets a key, which nobody else reads, and keeps it', async (t) => {
  const { path, read, host } = await setUp(t);
  assert.equal(await read({ makes: false }), undefined);
  const key = await read();
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  assert.equal((await read({ makes: false }))?.publicKey, key?.publicKey);
  const secret = key?.secret() ?? assert.fail();
  assert.ok(host.said.length === 1 && !host.said.join().includes(secret));
  assert.ok((await readFile(path, 'utf8')).includes(secret));
});

test('starts at one instant agree on one key', async (t) => {
  const { read } = await setUp(t);
  const keys = await Promise.all(Array.from({ length: 8 }, () => read()));
  assert.equal(new Set(keys.map((key) => key?.publicKey)).size, 1);
});

test('on a cloned disk the node gets another key', async (t) => {
  const { read, host } = await setUp(t);
  const first = await read();
  host.machine = 'clone\n';
  const second = await read({ makes: false });
  assert.notEqual(second?.publicKey, first?.publicKey);
  assert.equal((await read())?.publicKey, second?.publicKey);
  assert.match(host.said[1] ?? '', /another machine/);
});

test('a plan writes no key', async (t) => {
  const { read } = await setUp(t);
  assert.notEqual(await read({ keeps: false }), undefined);
  assert.equal(await read({ makes: false }), undefined);
});

for (const text of ['', 'rsa AAAA\n', 'ed25519\n', 'ed25519 AAAA one\n']) {
  test(`a file with ${JSON.stringify(text)} is one clear error, and stays`, async (t) => {
    const { path, read } = await setUp(t);
    await writeFile(path, text);
    await assert.rejects(read(), { code: 'node-key', message: new RegExp(`${path}: there is no key`) });
    assert.equal(await readFile(path, 'utf8'), text);
  });
}

test('a folder that takes no key is one clear error', async (t) => {
  const { stateDir } = await setUp(t);
  const files: Files = {
    ...systemFiles,
    createExclusively: () => Promise.reject(new Error('read-only file system')),
  };
  const log: Logger = { info() {}, warning() {}, error() {}, verbose() {} };
  await assert.rejects(readNodeKey({ files, log }, { stateDir, makes: true }), {
    code: 'node-key',
    message: /could not keep .*read-only/,
  });
});
