import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changedIn, readInstalledPackage } from '#src/diagnose/installation/installed-package.ts';
import type { CommandResult, CommandRunner } from '#src/sys/command.ts';

/** Answers by the command line; anything else is no program. */
const answering = (answers: Readonly<Record<string, Partial<CommandResult>>>): CommandRunner => ({
  run: async (argv) => ({
    ...{ code: 127, stdout: '', stderr: '' },
    ...(answers[argv.join(' ')] && { code: 0 }),
    ...answers[argv.join(' ')],
  }),
});

test('what dpkg --verify and rpm --verify print of a file that was changed or lost', () => {
  assert.deepEqual(changedIn('??5??????   /usr/bin/weft\nmissing     /usr/share/weft/a b (No such file)\n'), [
    '/usr/bin/weft',
    '/usr/share/weft/a b',
  ]);
  assert.deepEqual(changedIn('S.5....T.    /usr/bin/weft\n.M.......    /usr/lib/x\n'), [
    '/usr/bin/weft',
    '/usr/lib/x',
  ]);
});

test('a conffile that was edited is as it should be, one that is missing is not; a time alone is no change', () => {
  const lines = [
    '??5?????? c /etc/sysctl.d/60-weft.conf',
    'missing   c /etc/modules-load.d/weft.conf',
    '.......T.   /usr/bin/weft',
    'S.5....T. c /etc/weft/x',
    '.......T. d /usr/share/man/man8/weft.8.gz',
    'Unsatisfied dependencies for weft-1.2.3-1.x86_64:',
  ];
  assert.deepEqual(changedIn(lines.join('\n')), ['/etc/modules-load.d/weft.conf']);
});

test('a package of dpkg, one of rpm, and none', async () => {
  const query = '--queryformat=%{NAME} %{EVR}';
  const deb = await readInstalledPackage(
    answering({
      'dpkg-query --search /usr/bin/weft': { stdout: 'weft: /usr/bin/weft\n' },
      'dpkg-query --show weft': { stdout: 'weft\t1.2.3\n' },
      'dpkg --verify weft': { code: 1, stdout: '??5?????? /usr/bin/weft\n' },
    }),
    '/usr/bin/weft',
  );
  const rpm = await readInstalledPackage(
    answering({
      [`rpm --query --file ${query} /usr/bin/weft`]: { stdout: 'weft 1.2.3-1' },
      'rpm --verify weft': { code: 1, stdout: 'missing     /usr/bin/flanneld\n' },
    }),
    '/usr/bin/weft',
  );
  const of = { name: 'weft' };
  assert.deepEqual(deb, {
    kind: 'known',
    value: { ...of, manager: 'dpkg', version: '1.2.3', changed: ['/usr/bin/weft'] },
  });
  assert.deepEqual(rpm, {
    kind: 'known',
    value: { ...of, manager: 'rpm', version: '1.2.3-1', changed: ['/usr/bin/flanneld'] },
  });
  assert.equal((await readInstalledPackage(answering({}), '/opt/weft/weft')).kind, 'absent');
});
