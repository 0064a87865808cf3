import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { unchangedParts, writableParts } from '#src/sys/program-pages.ts';

const MAPS = `00400000-00836000 r--p 00000000 fd:00 77                                 /usr/bin/weft
00836000-03494000 r-xp 00436000 fd:00 77                                 /usr/bin/weft
03494000-05000000 r--p 03094000 fd:00 77                                 /usr/bin/weft
05000000-05020000 r--p 04bff000 fd:00 77                                 /usr/bin/weft
05020000-05090000 rw-p 04c1f000 fd:00 77                                 /usr/bin/weft
05090000-050b0000 rw-p 00000000 00:00 0
2f000000-2f800000 rw-p 00000000 00:00 0                                  [heap]
7f0000000000-7f0000100000 r-xp 00000000 fd:00 12                         /usr/lib/libc.so.6
7f0000200000-7f0000300000 r--s 00000000 fd:00 77                         /usr/bin/weft
`;

test('what the loader has changed and made read-only stays, and so does a page that it shares', () => {
  // The data begins in the last page of the constants.
  const parts = unchangedParts(MAPS, '/usr/bin/weft', [{ from: 0x4bff000, to: 0x4c8f000 }]);
  assert.deepEqual(parts, [
    { address: 0x400000n, bytes: 0x436000n },
    { address: 0x836000n, bytes: 0x2c5e000n },
    { address: 0x3494000n, bytes: 0x1b6b000n },
  ]);
  assert.deepEqual(unchangedParts(MAPS, '/usr/bin/other', []), []);
});

test('data that a process changes is known by the program headers', () => {
  const headers = Buffer.alloc(3 * 56);
  const header = (index: number, type: number, flags: number, offset: bigint, bytes: bigint) => {
    const at = index * 56;
    headers.writeUInt32LE(type, at);
    headers.writeUInt32LE(flags, at + 4);
    headers.writeBigUInt64LE(offset, at + 8);
    headers.writeBigUInt64LE(bytes, at + 32);
  };
  header(0, 1, 5, 0n, 0x5000n);
  header(1, 1, 6, 0x5e10n, 0x2200n);
  header(2, 2, 6, 0x5e20n, 0x100n);
  assert.deepEqual(writableParts(headers), [{ from: 0x5000, to: 0x9000 }]);
});

test('a program goes on with fewer pages of its file', () => {
  const program = `
    import { readFileSync } from 'node:fs';
    import { forgetProgramPages } from '#src/sys/program-pages.ts';
    import { loadLibc } from '#src/sys/libc.ts';
    await loadLibc();
    const filePages = () => Number(/^RssFile:\\s+(\\d+)/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]);
    const before = filePages();
    await forgetProgramPages();
    const after = filePages();
    globalThis.gc();
    const { createHash } = await import('node:crypto');
    console.log(JSON.stringify({ before, after, hash: createHash('sha256').update('abc').digest('hex') }));
  `;
  const argv = ['--expose-gc', '--input-type=module', '--eval', program];
  const { before, after, hash } = JSON.parse(execFileSync(process.execPath, argv, { encoding: 'utf8' }));
  assert.ok(after < before, `${after} kB after ${before} kB`);
  // FIPS 180-4's own example.
  assert.equal(hash, 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad');
});
