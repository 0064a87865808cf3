import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemProcesses } from '#src/sys/process.ts';
import { MOST_OUTPUT_BYTES, type ShellRequest, systemShell } from '#src/sys/shell.ts';
import { until } from '#src/sys/until.ts';

const run = (text: string, set: Partial<ShellRequest> = {}) =>
  systemShell({ text, variables: {}, stdin: '\n', timeoutMs: 10_000, ...set });

test('a command is a shell’s: quotes, pipes and variables work, and both outputs are one text', async () => {
  assert.deepEqual(await run('printf "%s|" a "b c" | tr a x; echo err >&2; echo out'), {
    code: 0,
    output: 'x|b c|err\nout',
    isCut: false,
  });
  assert.equal((await run('exit 7')).code, 7);
  assert.equal((await run('kill -9 $$')).code, 137);
});

test('a variable is data, whatever it holds', async () => {
  const evil = '$(echo pwned); `id` "\' \n;exit 3';
  const { code, output } = await run('printf %s "$SUBNET"', { variables: { SUBNET: evil } });
  assert.deepEqual([code, output], [0, evil]);
});

test('standard input reaches it, and one that does not read it is no failure', async () => {
  assert.equal((await run('cat', { stdin: 'a\nb\n' })).output, 'a\nb');
  assert.equal((await run('true', { stdin: 'x'.repeat(1 << 20) })).code, 0);
});

test('a command that hangs is killed with what it started', async () => {
  const { code, output } = await run('sleep 1000 & echo $!; sleep 1000', { timeoutMs: 200 });
  assert.equal(code, 124);
  const { find } = systemProcesses();
  await until(() => find(Number(output)) === undefined || undefined, { what: 'the end of what it started' });
});

test('a program in the background does not hold up its command', async () => {
  const started = performance.now();
  const { code, output } = await run('sleep 30 & echo $!');
  process.kill(Number(output), 'SIGKILL');
  assert.equal(code, 0);
  assert.ok(performance.now() - started < 10_000);
});

test('of a long output the end is kept', async () => {
  const { code, output, isCut } = await run('head -c 3000000 /dev/zero | tr "\\0" x; echo; echo the end');
  assert.equal(code, 0);
  assert.equal(isCut, true);
  assert.ok(output.length <= MOST_OUTPUT_BYTES);
  assert.match(output, /^x+\nthe end$/);
});

test('an abort kills it, and rejects with its reason', async () => {
  const stop = new AbortController();
  const running = run('sleep 1000', { signal: stop.signal });
  stop.abort(new Error('over'));
  await assert.rejects(running, /over/);
  await assert.rejects(run('true', { signal: stop.signal }), /over/);
});
