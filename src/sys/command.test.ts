import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommandRunner, systemCommands, versionsOnce } from '#src/sys/command.ts';

test('each version is asked for once, and nothing else is remembered', async () => {
  const asked: string[] = [];
  const counting: CommandRunner = {
    async run(argv) {
      asked.push(argv.join(' '));
      return { code: 0, stdout: `${asked.length}`, stderr: '' };
    },
  };
  const commands = versionsOnce(counting);
  const version = () => commands.run(['nft', '--version']);
  assert.deepEqual(await Promise.all([version(), version()]), [await version(), await version()]);
  await commands.run(['iptables', '--version']);
  for (let times = 0; times < 2; times++) await commands.run(['iptables-save']);
  assert.deepEqual(asked, ['nft --version', 'iptables --version', 'iptables-save', 'iptables-save']);
});

test('a version that was cut off is asked for again', async () => {
  const answers = [{ code: 124 }, { code: 125 }, { code: 137 }, { code: 255 }];
  let asked = 0;
  const commands = versionsOnce({
    run: async () => ({ stdout: '', stderr: '', ...(answers[asked++] ?? { code: 0 }) }),
  });
  const codes: number[] = [];
  for (let times = 0; times < 5; times++) codes.push((await commands.run(['nft', '--version'])).code);
  assert.deepEqual(codes, [124, 125, 137, 255, 255]);
});

test('a command that ended while this process was kept from running was in time', async () => {
  const ended = systemCommands.run(['true'], { timeoutMs: 1_000 });
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1_500);
  assert.equal((await ended).code, 0);
});
