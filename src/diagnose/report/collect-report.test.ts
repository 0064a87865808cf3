import assert from 'node:assert/strict';
import { test } from 'node:test';
import { collectReport } from '#src/diagnose/report/collect-report.ts';
import { Masker } from '#src/diagnose/report/mask.ts';
import { hostParts } from '#src/diagnose/report/report-parts.ts';
import type { CommandRunner } from '#src/sys/command.ts';

const SECRET = 'Hunter2x';
const PLANTED = `{"password":"${SECRET}"} --etcd-password ${SECRET} http://u:${SECRET}@8.8.4.4:2379 and ${SECRET} 8.8.8.8\n`;
const masker = () => new Masker({ secrets: [SECRET], keep: [], addresses: true });
const commandsOf = (
  run: (argv: readonly string[]) => { code: number; stdout?: string; stderr?: string },
): CommandRunner => ({
  run: async (argv) => ({ stdout: '', stderr: '', ...run(argv) }),
});
const { signal } = new AbortController();
const places = {
  stateFiles: ['/var/lib/weft/network-a.json'],
  subnetFiles: ['/run/subnet.env'],
  tenantNamespace: 'weft',
};

test('what is planted in each input does not come out', async () => {
  const commands = commandsOf(() => ({ code: 0, stdout: PLANTED, stderr: PLANTED }));
  const ask = async () => PLANTED;
  const parts = [{ name: 'a.json', ask }, ...hostParts(places)];
  const files = { read: async () => PLANTED };
  const { parts: found, missing } = await collectReport({ commands, files, masker: masker() }, parts, signal);
  assert.deepEqual(
    found.map(({ name }) => name),
    parts.map(({ name }) => name),
  );
  assert.deepEqual(missing, []);
  const all = found.map(({ text }) => text).join('\n');
  assert.doesNotMatch(all, /Hunter2x|8\.8\.[48]\.[48]/);
  // The first address is the first placeholder, everywhere.
  assert.deepEqual([...new Set(all.match(/203\.0\.113\.\d+/g))], ['203.0.113.1', '203.0.113.2']);
});

test('nor in a reason', async () => {
  const commands = commandsOf((argv) => ({ code: 1, stderr: `${argv[0]}: ${PLANTED}` }));
  const files = {
    read: async () => {
      throw new Error(PLANTED);
    },
  };
  const { parts, missing } = await collectReport(
    { commands, files, masker: masker() },
    hostParts(places),
    signal,
  );
  assert.deepEqual(parts, []);
  assert.ok(missing.length > 10);
  assert.doesNotMatch(missing.join('\n'), /Hunter2x|8\.8\.[48]\.[48]/);
});

test('a part that can’t be had is a line, and the others are there', async () => {
  const commands = commandsOf(([program = '']) =>
    program === 'none' ? { code: 127 } : program === 'late' ? { code: 124 } : { code: 0, stdout: 'ok\n' },
  );
  const files = { read: async () => undefined };
  const never = () => new Promise<string>(() => {});
  const keepAlive = setInterval(() => {}, 1_000);
  const { parts, missing } = await collectReport(
    { commands, files, masker: masker() },
    [
      { name: 'some', commands: [['none'], ['late', 'x'], ['good']] },
      { name: 'gone', file: '/gone' },
      { name: 'hangs', ask: never, timeoutMs: 10 },
      { name: 'one', ask: () => Promise.reject(new Error('why')) },
      { name: 'two', ask: () => Promise.reject(new Error('why')) },
    ],
    signal,
  );
  clearInterval(keepAlive);
  assert.deepEqual(parts, [{ name: 'some', text: '$ good\nok\n' }]);
  assert.deepEqual(missing, [
    'some: none: there is no such program',
    'some: late x: no answer in 5 s',
    'gone: there is no /gone',
    'hangs: no answer in 0.01 s',
    'one, two: why',
  ]);
});

test('an interruption ends it', async () => {
  const stop = new AbortController();
  const hanging = collectReport(
    { commands: commandsOf(() => ({ code: 0 })), files: { read: async () => '' }, masker: masker() },
    [{ name: 'hangs', ask: () => new Promise(() => {}) }],
    stop.signal,
  );
  stop.abort('enough');
  await assert.rejects(hanging, (reason) => reason === 'enough');
});
