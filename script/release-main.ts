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
import { type Compiled, runSplit } from './run-split.ts';

const program = programOf(process.argv0);

function compile(name: string, cachedData?: Uint8Array): Script {
  return new Script(Buffer.from(getRawAsset(name)).toString('latin1'), {
    filename: name,
    ...(cachedData !== undefined && { cachedData }),
  });
}

const compiled = readCompiled(Buffer.from(getRawAsset(`${program}.cache`)));
const script = compile(`${program}.cjs`, compiled.length > 0 ? compiled : undefined);
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
const later = () => compile(`${program}.later.cjs`).runInThisContext() as Compiled;
runSplit(script.runInThisContext() as Compiled, later, require);
