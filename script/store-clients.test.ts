import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const SCRIPT = fileURLToPath(new URL('store-clients', import.meta.url));

/** Runs the script with an empty cache, and with a `python3` and an `npm` that do as these shell lines say. */
function room(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'store-clients-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), PATH: `${folder}/bin:/usr/bin:/bin` };
  mkdirSync(join(folder, 'bin'));
  const run = (words: string[] = [], python = 'true', npm = 'true') => {
    for (const [name, body] of [
      ['python3', python],
      ['npm', npm],
    ]) {
      writeFileSync(join(folder, 'bin', `${name}`), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    }
    return spawnSync(SCRIPT, words, { env, encoding: 'utf8' });
  };
  const target = (name: string): string => run(['--folder', name]).stdout.trim();
  return { run, python: target('python'), node: target('node'), cache: join(folder, 'cache', 'weft') };
}

test('the clients are installed into the cache once', (t) => {
  const { run, python, node, cache } = room(t);
  const { status, stderr } = run();
  assert.deepEqual([status, stderr], [0, '']);
  assert.deepEqual(
    readdirSync(cache).sort(),
    [node, python].map((path) => path.slice(cache.length + 1)),
  );
  const again = run([], 'exit 1', 'exit 1');
  assert.deepEqual([again.status, again.stderr], [0, '']);
});

test('a client that can’t be installed is one reason, no failure, and does not keep the other away', (t) => {
  const { run, python, node, cache } = room(t);
  const { status, stderr } = run([], 'echo "ERROR: no route to the index" >&2; exit 1');
  assert.equal(status, 0);
  assert.match(stderr, /^etcd's client for python: [^\n]*no route to the index; its tests are skipped\n$/);
  assert.match(readFileSync(`${python}.reason`, 'utf8'), /no route to the index$/m);
  assert.deepEqual([existsSync(python), existsSync(node)], [false, true]);
  assert.equal(readdirSync(cache).length, 2);
  assert.equal(run().status, 0);
  assert.deepEqual([existsSync(python), existsSync(`${python}.reason`)], [true, false]);
});
