import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatBytes } from '#src/cli/format-bytes.ts';

test('bytes are said in the unit in which they have few digits', () => {
  const texts = [0, 1_023, 1_024, 1_536, 10_240, 3 * 2 ** 30, 2 ** 52].map(formatBytes);
  assert.deepEqual(texts, ['0 B', '1023 B', '1.0 KiB', '1.5 KiB', '10 KiB', '3.0 GiB', '4096 TiB']);
});
