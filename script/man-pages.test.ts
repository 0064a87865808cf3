import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { COMMANDS } from '#src/cli/commands.ts';
import { STORE_FLAGS } from '#src/cli/store-flags.ts';
import { variableOf } from '#src/lib/go-flags.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { scratchFolder } from '../test/support/scratch-folder.ts';
import { manPages } from './man-pages.ts';
import { escaped } from './roff.ts';

const pages = await manPages({ version: '1.2.3', date: '2026-01-31' });
const textOf = (name: string): string => pages.get(name) ?? assert.fail(`there is no ${name}`);

/** The tags of a page: what stands on the line after each `.TP`. */
const tagsOf = (text: string): string[] =>
  Array.from(text.matchAll(/^\.TP\n\\fB(.*?)\\fR/gm), ([, tag = '']) => tag.replaceAll('\\-', '-'));

/** The part of a page below a heading. */
const below = (text: string, heading: string): string =>
  text.split(/^(?=\.S[HS] )/m).find((part) => part.startsWith(heading)) ?? '';

test('flanneld(8) has each flag once, and flanneld.conf(5) each variable', () => {
  const flags = tagsOf(textOf('flanneld.8')).filter((tag) => tag.startsWith('--') && tag !== '--help');
  assert.deepEqual(
    flags.sort(),
    Object.keys(FLANNELD_FLAGS)
      .map((name) => `--${name}`)
      .sort(),
  );
  const variables = tagsOf(textOf('flanneld.conf.5')).filter((tag) => tag !== 'FLANNELD_OPTIONS');
  assert.deepEqual(
    variables.sort(),
    Object.keys(FLANNELD_FLAGS)
      .filter((name) => name !== 'version')
      .map((name) => variableOf('FLANNELD_', name))
      .sort(),
  );
});

test('store.conf(5) has each variable of "weft store serve" once', () => {
  const variables = tagsOf(textOf('store.conf.5')).filter((tag) => tag !== 'WEFT_STORE_OPTIONS');
  assert.deepEqual(
    variables.sort(),
    Object.keys(STORE_FLAGS.serve)
      .map((name) => variableOf('WEFT_STORE_', name))
      .sort(),
  );
});

for (const [name, { load }] of Object.entries(COMMANDS)) {
  test(`weft-${name}(8) has each flag of each of its commands once`, async () => {
    const { shape } = await load();
    const text = textOf(`weft-${name}.8`);
    const takesFlanneld = text.includes('All flags of \\fBflanneld\\fR(8)');
    const own = Object.keys(shape.flags ?? {}).filter(
      (flag) => !takesFlanneld || !Object.hasOwn(FLANNELD_FLAGS, flag),
    );
    const flags = tagsOf(below(text, '.SH OPTIONS')).filter((tag) => tag.startsWith('--'));
    assert.deepEqual(flags.sort(), [...own, 'help'].map((flag) => `--${flag}`).sort());
    for (const [word, { takes = '', flags: more = {} }] of Object.entries(shape.subcommands ?? {})) {
      const part = below(text, `.SS ${escaped(`${word} ${takes}`.trim())}\n`);
      assert.deepEqual(
        tagsOf(part).sort(),
        Object.keys(more)
          .map((flag) => `--${flag}`)
          .sort(),
        word,
      );
    }
  });
}

test('weft(8) names the page of each command', () => {
  for (const name of Object.keys(COMMANDS))
    assert.ok(textOf('weft.8').includes(`\\fB${escaped(`weft-${name}`)}\\fR(8)`), name);
});

const has = (program: string): boolean => spawnSync(program, ['--version']).error === undefined;

test('groff reads every page without a warning, and prints dashes that can be copied', {
  skip: !has('groff') && 'needs groff (Debian package groff)',
}, () => {
  for (const [name, text] of pages) {
    const words = ['-ww', '-z', '-man', '-Tutf8'];
    const { stderr, status } = spawnSync('groff', words, { input: text, encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, ''], name);
  }
  const { stdout } = spawnSync('groff', ['-man', '-Tutf8', '-P-cbou', '-rLL=100n'], {
    input: textOf('weft-doctor.8'),
    encoding: 'utf8',
  });
  assert.match(stdout, /^ +--etcd-endpoints=URLs$/m);
  assert.match(stdout, /weft-doctor - what is wrong on this host, why it matters, and what mends it$/m);
});

test('man finds every page by its name', {
  skip: !has('man') && 'needs man (Debian package man-db)',
}, (t) => {
  const folder = scratchFolder(t);
  for (const [name, text] of pages) {
    const place = join(folder, `man${name.at(-1)}`);
    mkdirSync(place, { recursive: true });
    writeFileSync(join(place, name), text);
  }
  for (const name of pages.keys()) {
    const [, title = '', section = ''] = /^(.*)\.(\d)$/.exec(name) ?? [];
    const words = ['--warnings=w', `--manpath=${folder}`, section, title];
    const { stderr, stdout, status } = spawnSync('man', words, {
      encoding: 'utf8',
      env: { ...process.env, MANPAGER: 'cat', LC_ALL: 'C.UTF-8' },
    });
    assert.deepEqual([status, stderr], [0, ''], name);
    assert.match(stdout, new RegExp(`^${title.toUpperCase()}\\(${section}\\)`), name);
  }
});

test('mandoc finds nothing wrong with any page', {
  skip: !has('mandoc') && 'needs mandoc (Debian package mandoc)',
}, () => {
  for (const [name, text] of pages) {
    const { stdout, status } = spawnSync('mandoc', ['-Tlint', '-Wwarning'], {
      input: text,
      encoding: 'utf8',
    });
    assert.deepEqual([status, stdout], [0, ''], name);
  }
});

test('the same version and date give the same bytes', async () => {
  assert.deepEqual(await manPages({ version: '1.2.3', date: '2026-01-31' }), pages);
});
