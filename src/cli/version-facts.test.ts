import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { FLANNEL, FORMATS, formatVersion, readRunning, type VersionFacts } from '#src/cli/version-facts.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

const RUNTIME = { node: '26.0.0', v8: '14', openssl: '3.5', koffi: '3.3', architecture: 'x64' };

const facts = (changes: Partial<VersionFacts> = {}): VersionFacts => ({
  version: '1.2.3',
  installed: { as: 'executable', path: '/usr/bin/weft' },
  runtime: RUNTIME,
  formats: FORMATS,
  flannel: FLANNEL,
  running: [],
  ...changes,
});

/** A daemon that answers as of that version. */
async function serve(socket: string, version: string): Promise<() => void> {
  const server = createServer((_request, response) => {
    response.end(JSON.stringify({ version, ready: true, troubles: [] }));
  });
  await new Promise<void>((done) => server.listen(socket, done));
  return () => void server.close();
}

test('a release says its commit and when it was made', () => {
  const lines = formatVersion(facts({ commit: 'a'.repeat(40), committedAt: '2026-01-02T03:04:05.000Z' }));
  assert.equal(lines[0], 'weft 1.2.3');
  assert.equal(lines[1], `  commit     ${'a'.repeat(40)} of 2026-01-02T03:04:05.000Z`);
  assert.ok(lines.includes('  installed  /usr/bin/weft'));
});

test('a checkout says that it is one', () => {
  const lines = formatVersion(facts({ installed: { as: 'checkout', path: '/opt/weft' } }));
  assert.ok(lines.includes('  commit     from a checkout'), lines.join('\n'));
  assert.ok(lines.includes('  installed  a checkout, /opt/weft'));
});

test('a native part that does not load is said', () => {
  const { koffi: _, ...runtime } = RUNTIME;
  assert.match(formatVersion(facts({ runtime })).join('\n'), /koffi not to be loaded/);
});

test('a flanneld of another version is named with what to do; silent and dead sockets are left out', async (t) => {
  const stateDir = scratchFolder(t);
  const ends = [
    await serve(join(stateDir, 'network-000000000001.sock'), '1.2.3'),
    await serve(join(stateDir, 'network-000000000002.sock'), '1.2.2'),
    await serve(join(stateDir, 'docker-driver.sock'), '1.2.3'),
  ];
  try {
    const running = await readRunning({ folders: systemFolders }, { stateDir, version: '1.2.3' });
    assert.deepEqual(
      running.map(({ version, isThis }) => [version, isThis]),
      [
        ['1.2.3', true],
        ['1.2.2', false],
      ],
    );
    const lines = formatVersion(facts({ running }));
    assert.ok(lines.includes('  flanneld   1.2.3 runs'));
    assert.match(lines.at(-1) ?? '', /1\.2\.2 runs, which is not this version: systemctl restart flanneld/);
  } finally {
    for (const end of ends) end();
  }
  assert.deepEqual(await readRunning({ folders: systemFolders }, { stateDir, version: '1.2.3' }), []);
});
