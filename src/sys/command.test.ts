import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommandRunner, versionsOnce } from '#src/sys/command.ts';

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
