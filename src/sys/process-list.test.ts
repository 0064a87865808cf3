import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { systemProcessList } from '#src/sys/process-list.ts';

test('a program of this network namespace is listed with its words, and we are not', async () => {
  const child = spawn('/bin/sleep', ['1000']);
  try {
    await once(child, 'spawn');
    const found = systemProcessList.here();
    const program = found.find(({ pid }) => pid === child.pid);
    assert.deepEqual(program, { pid: child.pid, name: 'sleep', argv: ['/bin/sleep', '1000'] });
    assert.ok(!found.some(({ pid }) => pid === process.pid));
  } finally {
    child.kill('SIGKILL');
  }
});
