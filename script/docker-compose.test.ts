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

const SCRIPT = fileURLToPath(new URL('docker-compose', import.meta.url));

/** Runs the script with an empty cache, and with a `go` that says its version and then does as this shell line says. */
function room(t: TestContext, version: string) {
  const folder = mkdtempSync(join(tmpdir(), 'docker-compose-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const env = { HOME: folder, XDG_CACHE_HOME: join(folder, 'cache'), PATH: `${folder}/bin:/usr/bin:/bin` };
  mkdirSync(join(folder, 'bin'));
  const run = (words: string[] = [], otherwise = '') => {
    const body = `[ "$1" != env ] || { echo ${version}; exit; }\n${otherwise}`;
    writeFileSync(join(folder, 'bin', 'go'), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return spawnSync(SCRIPT, words, { env, encoding: 'utf8' });
  };
  const target = run(['--folder']).stdout.trim();
  return { run, target, cache: join(folder, 'cache', 'weft') };
}

const DOWNLOAD = `[ "$1" != mod ] || { echo '{ "Dir": "/tmp" }'; exit; }`;

test('the plugin is built into the cache once', (t) => {
  const { run, target, cache } = room(t, 'go1.26.1');
  assert.ok(target.startsWith(`${cache}/compose-`));
  const build = `${DOWNLOAD}\nwhile [ "$1" != -o ]; do shift; done; touch "$2"`;
  const { status, stderr } = run([], build);
  assert.deepEqual([status, stderr.trim().split('\n').length], [0, 1], stderr);
  assert.deepEqual(readdirSync(join(target, 'cli-plugins')), ['docker-compose']);
  assert.deepEqual(readdirSync(cache).length, 1);
  const again = run([], 'echo "not again" >&2; exit 1');
  assert.deepEqual([again.status, again.stderr], [0, '']);
});

const FAILURES: readonly [name: string, version: string, otherwise: string, reason: RegExp][] = [
  ['a Go that is too old', 'go1.19.8', '', /^Go 1\.19\.8 is too old/],
  ['no Go', '', '', /^there is no Go/],
  ['no module', 'go1.27', 'echo "no route to the proxy" >&2; exit 1', /downloaded: no route to the proxy$/],
  ['a build that fails', 'go1.27', `${DOWNLOAD}\necho "no space" >&2; exit 1`, /failed: no space$/],
];

for (const [name, version, otherwise, reason] of FAILURES) {
  test(`${name} is one reason, no failure, and leaves no half of a plugin`, (t) => {
    const { run, target, cache } = room(t, version);
    const { status, stderr } = run([], otherwise);
    assert.equal(status, 0, stderr);
    assert.match(stderr, /; tests that want it are skipped\n$/);
    assert.match(readFileSync(`${target}.reason`, 'utf8').trim(), reason);
    assert.equal(existsSync(target), false);
    assert.equal(readdirSync(cache).length, 1);
  });
}
