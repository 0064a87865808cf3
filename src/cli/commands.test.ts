import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CommandContext } from '#src/cli/command.ts';
import { COMMANDS, USAGE } from '#src/cli/commands.ts';
import { screenOf } from '#src/cli/screen.ts';

/** What a command printed and complained. */
function recorded(): { context: CommandContext; lines: string[] } {
  const lines: string[] = [];
  const take = (line: string): void => {
    lines.push(...line.split('\n'));
  };
  const output = { print: take, progress: take, complain: take, progressEnds: () => {} };
  const { signal } = new AbortController();
  const readInput = async () => Buffer.alloc(0);
  const screen = screenOf(process.stdout, { NO_COLOR: '1' });
  const context = { output, screen, environment: {}, signal, readInput, confirm: undefined, folder: '/' };
  return { context, lines };
}

for (const [name, { about, load }] of Object.entries(COMMANDS)) {
  test(`weft ${name} --help explains it, and names each of its subcommands`, async () => {
    const { context, lines } = recorded();
    const { run, shape } = await load();
    assert.equal(await run(['--help'], context), 0);
    assert.match(lines[0] ?? '', new RegExp(`^(Usage: )?weft ${name}`));
    for (const subcommand of Object.keys(shape.subcommands ?? {}))
      assert.ok(
        lines.some((line) => line.startsWith(`  ${subcommand} `)),
        subcommand,
      );
    assert.ok(USAGE.includes(about));
  });
}

test('a wrong subcommand gives one line with the nearest one', async () => {
  const wrong = { lab: 'satus', store: 'exprot', network: 'inspct', address: 'kep', trust: 'forgt' };
  const meant = { lab: 'status', store: 'export', network: 'inspect', address: 'keep', trust: 'forget' };
  for (const name of ['lab', 'store', 'network', 'address', 'trust'] as const) {
    const { context, lines } = recorded();
    const command = await COMMANDS[name]?.load();
    assert.equal(await command?.run([wrong[name]], context), 2);
    assert.deepEqual(lines, [
      `weft ${name}: there is no command ${wrong[name]}; did you mean ${meant[name]}?`,
    ]);
  }
});
