import { mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { messageOf } from '#src/lib/errors.ts';
import { VERSION } from '#src/lib/version.ts';
import { architecturesOf } from './architectures.ts';
import { addChecksums } from './checksums.ts';
import { makeDeb, type PackageRequest } from './packages/deb.ts';
import { makeRpm } from './packages/rpm.ts';
import { payload } from './payload.ts';
import { ROOT, sourceDate } from './source-tree.ts';

const FORMATS = { deb: makeDeb, rpm: makeRpm } as const;

try {
  await main();
} catch (error) {
  process.stderr.write(`package: ${messageOf(error)}\n`);
  process.exitCode = 1;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      version: { type: 'string', default: VERSION },
      fast: { type: 'boolean', default: false },
      release: { type: 'string', default: join(ROOT, 'dist') },
      output: { type: 'string' },
    },
  });
  const { version, fast } = values;
  const release = resolve(values.release);
  const output = resolve(values.output ?? release);
  const wanted = architecturesOf(positionals);
  const date = sourceDate();
  mkdirSync(output, { recursive: true });
  const made: string[] = [];
  for (const architecture of wanted) {
    const programs = join(release, `linux-${architecture}`);
    for (const taker of ['deb', 'rpm'] as const) {
      const files = await payload({ taker, version, programs, date });
      const work = mkdtempSync(join(output, '.package-'));
      try {
        const request: PackageRequest = { files, version, architecture, date, fast, work, output };
        made.push(FORMATS[taker](request));
      } finally {
        rmSync(work, { recursive: true });
      }
    }
  }
  for (const name of made) {
    const megabytes = statSync(join(output, name)).size / 1e6;
    process.stdout.write(`${join(output, name)} ${megabytes.toFixed(1)} MB\n`);
  }
  addChecksums(output, made);
}
