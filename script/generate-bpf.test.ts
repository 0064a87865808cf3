import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const skip = existsSync('/usr/bin/clang-14') ? false : 'needs clang-14 (Debian package clang-14)';

test('the committed BPF program is what Debian’s clang makes of its source', { skip }, () => {
  const made = execFileSync(path('generate-bpf'), ['--print'], { encoding: 'utf8' });
  assert.equal(made, readFileSync(path('../src/fast-path/fast-path-program.ts'), 'utf8'));
});
