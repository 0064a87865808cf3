import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { VERSION } from '#src/lib/version.ts';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { compileBundles, makeBundles } from './release-executable.ts';

/** Of `src/`. Each has something that a plain start can't do without. */
const ROOMS = [
  'backend',
  'cli',
  'diagnose',
  'docker',
  'driver',
  'etcd',
  'fast-path',
  'firewall',
  'grpc',
  'kernel',
  'lib',
  'membership',
  'network',
  'node',
  'observe',
  'reconcile',
  'registry',
  'state',
  'sys',
];

/*
 * A daemon has the text that it was started from in memory as long as it runs, and the compiled code twice while it starts.
 * Who has to raise these numbers has added that much memory to every host: what a plain start does not need is imported with
 * import() (script/start-parts.ts), or not compiled ahead (script/compile-ahead.ts).
 */
const TEXT_BYTES = 1_600_000;
const COMPILED_BYTES = 2_450_000;

test('what a start reads is of these rooms, and no larger than this', async (t) => {
  const folder = scratchFolder(t);
  const bundles = await makeBundles(folder, VERSION);
  const text = readFileSync(join(folder, 'flanneld.cjs'), 'latin1');
  const rooms = new Set(Array.from(text.matchAll(/^\/\/ src\/([\w-]+)\//gm), ([, room = '']) => room));
  assert.deepEqual([...rooms].sort(), ROOMS);
  assert.ok(text.length <= TEXT_BYTES, `${text.length} bytes of text`);
  const { flanneld = '' } = compileBundles(folder, bundles, [process.execPath]);
  const compiled = readFileSync(flanneld).length;
  assert.ok(compiled <= COMPILED_BYTES, `${compiled} bytes of compiled code`);
});
