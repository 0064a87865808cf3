/**
 * What a release's executable runs: the program that it is called by, and that program's compiled code. Both are assets
 * of it. The cache that --build-sea makes by itself lacks every function that is not called while the file is read,
 * which is nearly all of a start.
 */
import { getRawAsset } from 'node:sea';
import { debuglog } from 'node:util';
import { Script } from 'node:vm';
import { readCompiled } from './compiled-asset.ts';
import { programOf } from './release-programs.ts';

const program = programOf(process.argv0);
const compiled = readCompiled(Buffer.from(getRawAsset(`${program}.cache`)));
const script = new Script(Buffer.from(getRawAsset(`${program}.cjs`)).toString('latin1'), {
  filename: `${program}.cjs`,
  ...(compiled.length > 0 && { cachedData: compiled }),
});
// With NODE_DEBUG=weft. V8 compiles all of it again, without a word, when it does not like what it gets.
debuglog('weft')(
  'compiled code of %s: %s',
  program,
  {
    undefined: 'none',
    false: 'taken',
    true: 'refused',
  }[`${script.cachedDataRejected}`],
);
script.runInThisContext()(exports, require, module, __filename, __dirname);
