import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { VERSION } from '#src/lib/version.ts';
import { until } from '#src/sys/until.ts';
import { makeBundles } from '../../script/release-executable.ts';
import { START_PARTS } from '../../script/start-parts.ts';
import {
  daemonLog,
  flagsFor,
  inRepository,
  startFlanneld,
  startStore,
  writeConfig,
} from '../support/flanneld.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * What a start with VXLAN has in memory. All of it stays as long as the daemon runs, so that whatever is added here should be
 * there for every host.
 *
 *     store .190 etcd     h1 .191 flanneld
 */
const skip = cannotRun('etcd', 'etcdctl', 'iptables');

/** flanneld's default. */
const RESPONDER_PORT = 8474;

/** By name, without `node:`. crypto alone takes 1 MB and 10 ms, tls and http2 take more. */
const NODE_MODULES = [
  'child_process',
  'dgram',
  'events',
  'fs',
  'fs/promises',
  'http',
  'module',
  'net',
  'os',
  'path',
  'perf_hooks',
  'timers',
  'timers/promises',
  'util',
  'v8',
];

/** Starts flanneld from the source, and resolves with what it has loaded once it measures its peers. */
async function loadedByStart(t: TestContext, api: 2 | 3): Promise<ReadonlySet<string>> {
  const lab = await testLab(t, { hosts: 1 });
  const host = lab.host('h1');
  const etcd = await startStore(lab, 'etcd');
  await writeConfig(etcd, api);
  const preload = `--import=${inRepository('test/support/report-loaded.ts')}`;
  const words = [preload, inRepository('src/cli/flanneld.ts'), ...flagsFor(host, etcd)];
  await startFlanneld(host, words, process.execPath);
  const lines = async () => (await daemonLog(host)).matchAll(/^loaded (\S+)$/gm);
  const names = async () => new Set([...(await lines())].map(([, name = '']) => name));
  // A line is written before the module's own imports are loaded. Once it listens, all of them are there.
  await until(async () => (await host.must(['ss', '-Hltn', 'sport', '=', `:${RESPONDER_PORT}`])) !== '', {
    what: 'answers to what measures peers',
    timeoutMs: 15_000,
  });
  const loaded = await names();
  assert.ok(loaded.has('src/node/probe-service.ts'));
  return loaded;
}

test('nothing that is loaded later, and of Node only these', { skip }, async (t) => {
  const folder = scratchFolder(t);
  await makeBundles(folder, VERSION);
  const later = new Set(modulesOf(readFileSync(join(folder, 'flanneld.later.cjs'), 'utf8')));
  assert.ok(later.has('src/node/tenant-service.ts'));
  const all = new Set<string>();
  for (const api of [2, 3] as const) {
    const loaded = await loadedByStart(t, api);
    assert.deepEqual(
      [...loaded].filter((name) => later.has(name)),
      [],
      `etcd v${api}`,
    );
    for (const name of loaded) all.add(name);
  }
  assert.deepEqual(
    [...START_PARTS].filter((part) => !all.has(part)),
    [],
  );
  const ofNode = [...all].filter((name) => name.startsWith('node:')).map((name) => name.slice(5));
  assert.deepEqual(ofNode.sort(), NODE_MODULES);
});

/** esbuild has a comment with the path where a module begins. */
const modulesOf = (text: string): string[] =>
  [...text.matchAll(/^\/\/ (\S+)$/gm)].map(([, path = '']) => path);
