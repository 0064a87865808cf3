import assert from 'node:assert/strict';
import { test } from 'node:test';
import { alignCompiled, compiledAsset, readCompiled } from './compiled-asset.ts';

const CODE = Buffer.from('0123456789');

test('wherever the asset comes to lie, its code is whole and begins at a multiple of 8', () => {
  for (let offset = 0; offset < 20; offset++) {
    const asset = compiledAsset(CODE);
    assert.deepEqual(readCompiled(asset), CODE);
    const file = Buffer.concat([Buffer.alloc(offset, 0xff), asset, Buffer.alloc(4, 0xff)]);
    const address = 0x4000 + offset;
    alignCompiled(file, { offset, address, bytes: asset.length });
    const mapped = file.subarray(offset, offset + asset.length);
    const code = readCompiled(mapped);
    assert.deepEqual(code, CODE, `at ${offset}`);
    assert.equal((address + code.byteOffset - mapped.byteOffset) % 8, 0);
    assert.equal(file.toString('latin1', offset + asset.length), '\xff\xff\xff\xff');
  }
});

test('an asset of nothing has no code', () => {
  assert.equal(readCompiled(new Uint8Array()).length, 0);
});
