import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { LineWriter } from '#src/sys/line-writer.ts';

const folder = mkdtempSync(join(tmpdir(), 'line-writer-'));
const fifo = join(folder, 'fifo');
before(() => void execFileSync('mkfifo', [fifo]));
after(() => rmSync(folder, { recursive: true }));

/** All that is in the pipe now. */
function drain(fd: number): string {
  const buffer = Buffer.alloc(1 << 20);
  return buffer.toString('utf8', 0, readSync(fd, buffer));
}

test('a full pipe loses lines, never parts of one, and is used again when it is read', () => {
  const reader = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = openSync(fifo, constants.O_WRONLY | constants.O_NONBLOCK);
  const log = new LineWriter(writer);
  // Longer than PIPE_BUF, so that the kernel takes parts of it.
  const line = (number: number) => `${number} ${'x'.repeat(10_000)}\n`;
  const written: string[] = [];
  for (let number = 0; number < 20; number++) {
    if (log.write(line(number))) written.push(line(number));
  }
  assert.ok(written.length < 20);
  let read = drain(reader);
  assert.equal(log.write('next\n'), true);
  read += drain(reader);
  assert.equal(read, `${written.join('')}next\n`);
  closeSync(reader);
  assert.equal(log.write('nobody\n'), false);
  closeSync(writer);
});
