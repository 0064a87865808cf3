import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { Memory } from '#src/membership/remembered.ts';
import { systemFiles } from '#src/sys/files.ts';

for (const count of [0, 1, 500, 1_234]) {
  test(`${count} peers are recalled as they were remembered`, async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'remembered-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const memory = new Memory({ files: systemFiles, log: silentLogger }, join(folder, 'network.json'));
    const peers = Array.from({ length: count }, (_, n) => ({
      name: `10.5.${n}.0-24`,
      value: `{"n":"${n}"}`,
    }));
    const remembered = {
      at: 7,
      config: '{"Network":"10.0.0.0/8"}',
      own: { name: 'own', value: '{}' },
      peers,
    };
    await memory.remember(remembered);
    assert.deepEqual(await memory.recall(), remembered);
  });
}
