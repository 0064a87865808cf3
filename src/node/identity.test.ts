import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';

const MACHINE = '4c1f0b7e2a9d4d63b1d0a7e5c3f29b88\n';
const UUID = '0f8fad5b-d9cb-469f-a165-70867728950e';

function host(
  content: Record<string, string>,
  canWrite = true,
): Files & { readonly texts: Map<string, string> } {
  const texts = new Map(Object.entries(content));
  const write: Files['writeAtomically'] = async (path, text) => {
    if (!canWrite) throw new Error('read-only');
    texts.set(path, typeof text === 'string' ? text : [...text].join(''));
  };
  return {
    texts,
    read: async (path) => texts.get(path),
    exists: (path) => texts.has(path),
    write,
    writeAtomically: write,
    append: async (path, text) => write(path, `${texts.get(path) ?? ''}${text}`),
    async createExclusively(path, text) {
      if (texts.has(path)) return false;
      await write(path, text);
      return true;
    },
    remove: async (path) => void texts.delete(path),
  };
}

const identityOn = (files: Files) => readNodeIdentity({ files, log: silentLogger }, '/state');

test('a new node takes a random name of the kernel’s and keeps it', async () => {
  const files = host({ '/etc/machine-id': MACHINE, '/proc/sys/kernel/random/uuid': `${UUID}\n` });
  assert.equal(await identityOn(files), UUID);
  files.texts.set('/proc/sys/kernel/random/uuid', 'another\n');
  assert.equal(await identityOn(files), UUID);
});

test('on a cloned disk the node becomes another one, and stays it', async () => {
  const files = host({
    '/etc/machine-id': MACHINE,
    '/proc/sys/kernel/random/uuid': `${UUID}\n`,
  });
  assert.equal(await identityOn(files), UUID);
  files.texts.set('/etc/machine-id', 'of a clone\n');
  const [first, second] = await Promise.all([identityOn(files), identityOn(files)]);
  assert.notEqual(first, UUID);
  assert.equal(second, first);
  assert.equal(await identityOn(files), first);
});

test('a file without an identity in it is replaced', async () => {
  const files = host({
    '/etc/machine-id': MACHINE,
    '/proc/sys/kernel/random/uuid': UUID,
    '/state/node-id': '\n',
  });
  assert.equal(await identityOn(files), UUID);
  assert.equal(await identityOn(files), UUID);
});

test('of processes that start at one instant on a new host, all are the same node', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'weft-identity-'));
  try {
    const starts = Array.from({ length: 20 }, () =>
      readNodeIdentity({ files: systemFiles, log: silentLogger }, folder),
    );
    const identities = await Promise.all(starts);
    assert.equal(new Set(identities).size, 1);
    assert.deepEqual(await readdir(folder), ['node-id']);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('what earlier versions wrote and derived stays', async () => {
  const machine = 'a68abb910f20f19dccf6f5a4946ac6f2';
  assert.equal(await identityOn(host({ '/etc/machine-id': MACHINE }, false)), machine);
  const kept = host({ '/etc/machine-id': MACHINE, '/state/node-id': `${UUID} ${machine}\n` });
  assert.equal(await identityOn(kept), UUID);
});
