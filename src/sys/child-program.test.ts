import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { LONGEST_LINE, systemPrograms } from '#src/sys/child-program.ts';
import { systemProcesses } from '#src/sys/process.ts';
import { until } from '#src/sys/until.ts';

const start = (script: string, onLine: (line: string) => void = () => {}) =>
  systemPrograms.start({ argv: ['/bin/sh', '-c', script], env: { WORD: 'word' }, onLine });

test('a program is found by its name, or by the first path that exists', () => {
  const { find } = systemPrograms;
  assert.match(find(['no-such-program', 'sh']) ?? '', /\/sh$/);
  assert.equal(find(['/no/such', '/bin/sh']), '/bin/sh');
  assert.equal(find(['/no/such', '/etc/passwd']), undefined);
});

test('what it prints comes line by line, and no line is endless', async () => {
  const lines: string[] = [];
  const child = await start('echo "$WORD"; head -c 5000 /dev/zero | tr "\\0" x >&2', (line) =>
    lines.push(line),
  );
  assert.equal(await child.ended, 'exit code 0');
  await until(() => lines.length === 2 || undefined, { what: 'two lines' });
  assert.deepEqual(lines.toSorted(), ['word', 'x'.repeat(LONGEST_LINE)]);
});

test('it is asked to end, and killed when it does not', async () => {
  const polite = await start('trap "exit 3" TERM; while :; do sleep 0.01; done');
  await polite.stop(10_000);
  assert.match(await polite.ended, /^(exit code 3|signal SIGTERM)$/);
  const lines: string[] = [];
  const deaf = await start('trap "" TERM; echo deaf; while :; do sleep 0.01; done', (line) =>
    lines.push(line),
  );
  await until(() => lines.length === 1 || undefined, { what: 'a trap that is set' });
  await deaf.stop(50);
  assert.equal(await deaf.ended, 'signal SIGKILL');
});

test('one that an earlier run left is ended, if it is still the same process', async () => {
  const child = await start('exec sleep 1000');
  await systemPrograms.endLeftover({ ...child.id, startTime: '1' }, 1_000);
  assert.deepEqual(systemProcesses().find(child.id.pid), child.id);
  await systemPrograms.endLeftover(child.id, 10_000);
  assert.equal(await child.ended, 'signal SIGTERM');
});

test('a program that is not there can’t be started', async () => {
  await assert.rejects(systemPrograms.start({ argv: ['/no/such'], env: {}, onLine: () => {} }), /ENOENT/);
});

test('a socket answers when something listens', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-program-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'socket');
  assert.equal(await systemPrograms.answers(path), false);
  const script = `require('net').createServer(()=>{}).listen(${JSON.stringify(path)})`;
  const child = await systemPrograms.start({
    argv: [process.execPath, '-e', script],
    env: {},
    onLine: () => {},
  });
  t.after(() => child.stop(1_000));
  await until(async () => (await systemPrograms.answers(path)) || undefined, { what: 'the socket' });
});
