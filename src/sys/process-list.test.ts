import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { systemProcessList } from '#src/sys/process-list.ts';
import { until } from '#src/sys/until.ts';

test('a program of this network namespace is listed with its words, and we are not', async () => {
  const child = spawn('/bin/sleep', ['1000']);
  try {
    await once(child, 'spawn');
    // Node hears of it in the middle of its execve.
    const isThere = () =>
      ['comm', 'cmdline'].every((file) =>
        readFileSync(`/proc/${child.pid}/${file}`, 'utf8').includes('sleep'),
      );
    await until(isThere, { what: 'program' });
    const found = systemProcessList.here();
    const program = found.find(({ pid }) => pid === child.pid);
    assert.deepEqual(program, { pid: child.pid, name: 'sleep', argv: ['/bin/sleep', '1000'] });
    assert.ok(!found.some(({ pid }) => pid === process.pid));
  } finally {
    child.kill('SIGKILL');
  }
});

test('a copy of a program that has not become another one yet is not a second program', async () => {
  const script = 'exec 3<&0; (read line <&3) & echo $!; wait';
  const shell = spawn('/bin/sh', ['-c', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  try {
    const [text] = (await once(shell.stdout, 'data')) as [Buffer];
    const copy = Number(text.toString());
    assert.deepEqual(readFileSync(`/proc/${copy}/cmdline`), readFileSync(`/proc/${shell.pid}/cmdline`));
    const pids = systemProcessList.here().map(({ pid }) => pid);
    assert.ok(pids.includes(shell.pid ?? 0));
    assert.ok(!pids.includes(copy));
  } finally {
    shell.stdin.end();
    await once(shell, 'exit');
  }
});
