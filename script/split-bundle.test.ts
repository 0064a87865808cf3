import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { Script } from 'node:vm';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { type Compiled, runSplit } from './run-split.ts';
import { type SplitBundle, splitBundle } from './split-bundle.ts';

/** A program that reports to `globalThis.report`: what it runs, in order. */
const FILES = {
  'main.ts': `
    import { shared } from './shared.ts';
    shared('main');
    export const done = (async () => {
      const { begun } = await import('./begun.ts');
      begun();
      const { driver } = await import('./driver.ts');
      driver();
      const { driver: again } = await import('./driver.ts');
      again();
    })();
    globalThis.report.done = done;
  `,
  'shared.ts': `
    globalThis.report.push('shared is there');
    let calls = 0;
    export const shared = (by: string) => globalThis.report.push(\`\${by} is call \${++calls}\`);
  `,
  'begun.ts': `
    import { basename } from 'node:path';
    import { shared } from './shared.ts';
    export const begun = () => shared(basename('/at/begun'));
  `,
  'driver.ts': `
    import { shared } from './shared.ts';
    import { detail } from './detail.ts';
    globalThis.report.push('the driver is there');
    export const driver = () => shared(detail);
  `,
  'detail.ts': `export const detail = 'driver';`,
};

async function bundleOf(t: Parameters<typeof scratchFolder>[0], isOfStart: (path: string) => boolean) {
  const root = scratchFolder(t);
  for (const [name, text] of Object.entries(FILES)) {
    const path = join(root, 'src', name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  const options = { platform: 'node', supported: { 'dynamic-import': false } } as const;
  return await splitBundle('src/main.ts', root, options, isOfStart);
}

/** Runs it as a release does. Resolves with what it reported. */
async function run({ start, later }: SplitBundle): Promise<string[]> {
  const report = Object.assign([] as string[], { done: Promise.resolve() });
  const compiled = (text: string) =>
    new Script(`(function (exports, require) {${text}\n})`).runInThisContext() as Compiled;
  const loadLater = () => {
    report.push('the other text is read');
    return compiled(later ?? '');
  };
  Object.assign(globalThis, { report });
  try {
    runSplit(compiled(start), loadLater, (name) => process.getBuiltinModule(name));
    await report.done;
  } finally {
    Reflect.deleteProperty(globalThis, 'report');
  }
  return [...report];
}

test('what is imported later is in the other text, each module once, and runs at its first import', async (t) => {
  const split = await bundleOf(t, (path) => path === 'src/begun.ts');
  assert.ok(split.later);
  const where = (path: string) => [split.start, split.later].map((text) => text?.includes(`// ${path}\n`));
  for (const path of ['src/main.ts', 'src/shared.ts', 'src/begun.ts'])
    assert.deepEqual(where(path), [true, false], path);
  for (const path of ['src/driver.ts', 'src/detail.ts']) assert.deepEqual(where(path), [false, true], path);
  assert.deepEqual(await run(split), [
    'shared is there',
    'main is call 1',
    'begun is call 2',
    'the other text is read',
    'the driver is there',
    'driver is call 3',
    'driver is call 4',
  ]);
});

test('a program of which all belongs to the start is one text', async (t) => {
  const split = await bundleOf(t, () => true);
  assert.equal(split.later, undefined);
  assert.deepEqual(await run(split), [
    'shared is there',
    'main is call 1',
    'begun is call 2',
    'the driver is there',
    'driver is call 3',
    'driver is call 4',
  ]);
});

test('a part that is in neither text is an error that names it', () => {
  const compiled: Compiled = (_, find) => void find('later:src/none.ts');
  assert.throws(
    () =>
      runSplit(
        compiled,
        () => () => {},
        () => undefined,
      ),
    /the program has no part later:src\/none\.ts/,
  );
});
