import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

/**
 * The house, top floor first (docs/architecture.md). A room may import from the rooms of the floors below it and
 * from itself, never upwards and never sideways.
 */
const FLOORS: readonly (readonly string[])[] = [
  ['cli'],
  ['node', 'lab'],
  ['driver', 'cni'],
  ['diagnose', 'ui'],
  ['observe'],
  ['store'],
  ['membership'],
  ['reconcile'],
  ['registry', 'docker'],
  ['backend', 'firewall', 'tenant', 'fast-path'],
  ['network'],
  ['kernel', 'grpc'],
  ['state'],
  ['etcd', 'sys'],
  ['lib'],
];
/** Only sys/ touches the machine: FFI, child processes, files. Tests may do so anywhere. */
const SYSTEM_MODULES = ['koffi', 'node:child_process', 'node:fs', 'node:fs/promises', 'node:dgram'];

const SOURCE = fileURLToPath(new URL('..', import.meta.url));

interface Import {
  readonly from: string;
  readonly to: string;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(file, 'utf8');
  const found = text.matchAll(
    /(?:^|\n)\s*(?:import|export)\b(?:[^'"\n;]*?(?:\{[^}]*\}[^'"\n;]*?)?\bfrom)?\s*['"]([^'"]+)['"]|import\(['"]([^'"]+)['"]\)/g,
  );
  return Array.from(found, (match) => ({ from: relative(SOURCE, file), to: match[1] ?? match[2] ?? '' }));
}

const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
  .filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  .map((name) => join(SOURCE, name));
const imports = files.flatMap(importsOf);
const roomOf = (path: string): string => path.split('/')[0] ?? '';
const floorOf = (room: string): number => FLOORS.findIndex((rooms) => rooms.includes(room));

test('every file under src/ is in a room of the house', () => {
  const strangers = files.map((file) => relative(SOURCE, file)).filter((file) => floorOf(roomOf(file)) < 0);
  assert.deepEqual(strangers, []);
});

test('imports point downwards', () => {
  const upwards = imports
    .filter(({ to }) => to.startsWith('#src/'))
    .filter(({ from, to }) => {
      const [room, target] = [roomOf(from), roomOf(to.slice('#src/'.length))];
      return room !== target && floorOf(target) <= floorOf(room);
    });
  assert.deepEqual(upwards, []);
});

test('inside src/ imports are written from the root', () => {
  assert.deepEqual(
    imports.filter(({ to }) => to.startsWith('.')),
    [],
  );
});

/** What the browser loads. It has no module of Node's and none of the daemon's; types are erased before they get there. */
const isBrowserCode = (path: string): boolean => /^ui\/(page|model)\//.test(path);

test('browser code imports browser code only', () => {
  const found = files
    .map((file) => relative(SOURCE, file))
    .filter(isBrowserCode)
    .flatMap((from) => {
      const text = readFileSync(join(SOURCE, from), 'utf8').replaceAll(/^import type [^;]*;/gm, '');
      return Array.from(text.matchAll(/(?:from|import) '([^']+)'/g), ([, to = '']) => ({ from, to }));
    });
  const outside = found.filter(({ from, to }) => {
    if (to === 'uplot') return !from.startsWith('ui/page/');
    return !(to.startsWith('#src/') && isBrowserCode(to.slice('#src/'.length)));
  });
  assert.deepEqual(outside, []);
  // The model is tested without a browser, so it has nothing of one.
  const upwards = found.filter(({ from, to }) => from.startsWith('ui/model/') && to.includes('/page/'));
  assert.deepEqual(upwards, []);
});

test('only sys/ touches the machine', () => {
  const outside = imports.filter(({ from, to }) => roomOf(from) !== 'sys' && SYSTEM_MODULES.includes(to));
  assert.deepEqual(outside, []);
});

/**
 * Clocks, timers, random numbers and sockets. Outside of sys/ they come in through an interface of
 * sys/.
 */
const MACHINE_WORDS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ...['setTimeout', 'setInterval', 'setImmediate', 'randomBytes'].map(
    (name) => [name, new RegExp(`(?<![.\\w#])${name}\\(`)] as const,
  ),
  ['AbortSignal.timeout', /\bAbortSignal\.timeout\b/],
  ['Date.now', /\bDate\.now\b/],
  ['new Date', /\bnew Date\(\)/],
  ['performance', /\bperformance\.(?:now|timeOrigin)\b/],
  ['Math.random', /\bMath\.random\b/],
  ...[
    'node:timers',
    'node:timers/promises',
    'node:http',
    'node:http2',
    'node:https',
    'node:net',
    'node:tls',
    'node:perf_hooks',
    'node:worker_threads',
  ].map((name) => [name, new RegExp(`^import (?!type\\b)[^;]*'${name}';`, 'm')] as const),
];

/**
 * Uses outside of sys/ that are allowed, one line each. Types and comments do not count.
 *
 * - Modules of sockets (`node:http`, `node:https`, `node:net`, `node:tls`): the protocol is the file's
 *   own job, and its tests use a real server on loopback.
 * - The timer of store/connection-listener.ts: it has yet to move into sys/.
 */
const ALLOWED_OUTSIDE: readonly string[] = [
  'diagnose/responder/responder.ts node:http',
  'diagnose/trace/ask-responder.ts node:http',
  'lab/relay.ts node:net',
  'observe/ask-socket.ts node:http',
  'observe/health-server.ts node:http',
  'observe/local-api.ts node:http',
  'registry/etcd-v2-http.ts node:http',
  'registry/etcd-v3-absence.ts node:http',
  'registry/secure-agent.ts node:https',
  'store/connection-listener.ts node:http',
  'store/connection-listener.ts node:net',
  'store/connection-listener.ts node:tls',
  'store/connection-listener.ts setTimeout',
  'ui/server/access.ts node:net',
  'ui/server/socket-proxy.ts node:http',
  'ui/server/ui-server.ts node:http',
  'ui/server/ui-server.ts node:net',
];

const withoutComments = (text: string): string =>
  text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(?<![:'"`\w])\/\/.*$/gm, '');

test('clocks, timers, random numbers and sockets are in sys/, except for the listed uses', () => {
  const uses = files.flatMap((file) => {
    const name = relative(SOURCE, file);
    // A browser's clock is the browser's.
    if (roomOf(name) === 'sys' || name.startsWith('ui/page/')) return [];
    const text = withoutComments(readFileSync(file, 'utf8'));
    return MACHINE_WORDS.filter(([, pattern]) => pattern.test(text)).map(([word]) => `${name} ${word}`);
  });
  assert.deepEqual(
    uses.filter((use) => !ALLOWED_OUTSIDE.includes(use)),
    [],
    'new uses outside of sys/',
  );
  assert.deepEqual(
    ALLOWED_OUTSIDE.filter((use) => !uses.includes(use)),
    [],
    'lines of ALLOWED_OUTSIDE whose use is gone: delete them',
  );
});

/** Columns of the picture in docs/architecture.md that name the rooms. */
const ROOMS_WIDTH = 37;

test('docs/architecture.md draws the same floors', () => {
  const page = readFileSync(join(SOURCE, '../docs/architecture.md'), 'utf8');
  const [, picture = ''] = /## The floors.*?```\n(.*?)```/s.exec(page) ?? [];
  const drawn = picture
    .trimEnd()
    .split('\n')
    .map((line) => line.slice(0, ROOMS_WIDTH).trim().split(/ +/));
  assert.deepEqual(drawn, FLOORS);
});
