/**
 * What a release's executable runs: the program and its compiled code, which are assets of it. The cache that --build-sea
 * makes by itself lacks every function that is not called while the file is read, which is nearly all of a start.
 */
import { getRawAsset } from 'node:sea';
import { Script } from 'node:vm';

const compiled = Buffer.from(getRawAsset('program.cache'));
const script = new Script(Buffer.from(getRawAsset('program.cjs')).toString('latin1'), {
  filename: 'program.cjs',
  ...(compiled.length > 0 && { cachedData: compiled }),
});
script.runInThisContext()(exports, require, module, __filename, __dirname);
