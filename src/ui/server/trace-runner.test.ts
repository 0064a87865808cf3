import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandResult } from '#src/sys/command.ts';
import { TraceRunner } from '#src/ui/server/trace-runner.ts';

const { signal } = new AbortController();

function runner(result: Partial<CommandResult> | Promise<CommandResult>) {
  const ran: string[][] = [];
  const commands = {
    async run(argv: readonly string[]) {
      ran.push([...argv]);
      return { code: 0, stdout: '', stderr: '', ...(await result) };
    },
  };
  const place = {
    title: '',
    sources: async () => [],
    ends: async () => [],
    trace: async (from: string, to: string) => ['weft', 'trace', from, to] as const,
  };
  return { traces: new TraceRunner(place, commands), ran };
}

test('the hops of a trace that stops come through, whatever the exit code', async () => {
  const hops = [{ id: 'route', host: 'h1', about: 'a route', ok: false }];
  const { traces, ran } = runner({ code: 1, stdout: JSON.stringify({ hops, outcome: 'stopped' }) });
  assert.deepEqual(await traces.run('h1/c1', '10.0.2.2', signal), { status: 200, body: { hops } });
  assert.deepEqual(ran, [['weft', 'trace', 'h1/c1', '10.0.2.2']]);
});

test('a word that could be a flag, or more than a word, is refused before anything runs', async () => {
  const { traces, ran } = runner({});
  for (const word of ['', '-x', '--state-dir=/etc', 'a b', 'a\nb', '$(id)', ';', 'é', 'x'.repeat(200)]) {
    for (const [from, to] of [
      [word, 'b'],
      ['a', word],
    ] as const) {
      assert.equal((await traces.run(from, to, signal)).status, 400, word);
    }
  }
  assert.deepEqual(ran, []);
});

test('one runs at a time', async () => {
  const { promise, resolve } = Promise.withResolvers<CommandResult>();
  const { traces } = runner(promise);
  const first = traces.run('a', 'b', signal);
  assert.equal((await traces.run('a', 'b', signal)).status, 429);
  resolve({ code: 0, stdout: '{"hops":[]}', stderr: '' });
  assert.equal((await first).status, 200);
});

test('what went wrong is one line', async () => {
  const failed = await runner({ code: 1, stderr: 'weft trace: there is no container x\nmore' }).traces.run(
    'x',
    'b',
    signal,
  );
  assert.deepEqual(failed, { status: 502, body: { error: 'weft trace: there is no container x' } });
  const late = await runner({ code: 124 }).traces.run('a', 'b', signal);
  assert.equal(late.status, 504);
  const strange = await runner({ code: 0, stdout: '[1]' }).traces.run('a', 'b', signal);
  assert.equal(strange.status, 502);
});
