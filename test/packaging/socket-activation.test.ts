import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PASSED_NAME } from '#src/driver/plugin-socket.ts';
import { until } from '#src/sys/until.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

const ACTIVATE = 'systemd-socket-activate';
const PROCESS = fileURLToPath(new URL('../support/plugin-process.ts', import.meta.url));
const skip = spawnSync(ACTIVATE, ['--version']).status !== 0 && `${ACTIVATE} is not installed`;

/** The body of an answer. */
async function activate(socketPath: string): Promise<string> {
  const sent = request({ socketPath, path: '/Plugin.Activate', method: 'POST' }).end();
  const [response] = await once(sent, 'response');
  let text = '';
  for await (const chunk of response) text += chunk;
  return text;
}

test('a call that comes before the process waits for it, and the socket stays when the process ends', {
  skip,
}, async (t) => {
  const socket = join(scratchFolder(t), 'weft.sock');
  // It becomes the process at the first connection.
  const child = spawn(ACTIVATE, [`--listen=${socket}`, `--fdname=${PASSED_NAME}`, process.execPath, PROCESS]);
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  let printed = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    printed += chunk;
  });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    said += chunk;
  });
  // The file is there a moment before anybody listens.
  await until(() => said.includes('Listening on'), { what: 'socket of systemd' });
  assert.equal(await activate(socket), '{"Implements":["NetworkDriver","IpamDriver"]}');
  // Descriptor 3 is the socket: a child that held it would keep it open when we and systemd have given it up.
  await until(() => printed.includes('\n'), { what: 'line of the process' });
  assert.equal(printed, '0 1 2 3\n', 'of ls: its own folder is 3');
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
  assert.equal(existsSync(socket), true);
});
