import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { VERSION } from '#src/lib/version.ts';
import { makeDeb, type PackageRequest } from './packages/deb.ts';
import { ARCHITECTURES, type Architecture } from './packages/facts.ts';
import { makeRpm } from './packages/rpm.ts';
import { payload, type Taker } from './payload.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const FORMATS = { deb: makeDeb, rpm: makeRpm } as const;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: 'string', default: VERSION },
    fast: { type: 'boolean', default: false },
    release: { type: 'string', default: join(ROOT, 'dist') },
    output: { type: 'string' },
  },
});
const release = resolve(values.release);
const output = resolve(values.output ?? release);
const known = Object.keys(ARCHITECTURES) as Architecture[];
const stranger = positionals.find((word) => !known.some((name) => name === word));
if (stranger !== undefined) {
  process.stderr.write(`package: no architecture ${stranger}, there are ${known.join(' and ')}\n`);
  process.exit(2);
}
const date = dateOfTree();
const { version, fast } = values;
mkdirSync(output, { recursive: true });
const made: string[] = [];
for (const architecture of known.filter((name) => positionals.length === 0 || positionals.includes(name))) {
  const programs = join(release, `linux-${architecture}`);
  for (const taker of ['deb', 'rpm'] as const satisfies readonly Taker[]) {
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
addSums(join(output, 'SHA256SUMS'));

/** Seconds since 1970: what the environment says (reproducible-builds.org), or the time of the last commit. */
function dateOfTree(): number {
  const given = process.env.SOURCE_DATE_EPOCH;
  if (given !== undefined) return Number(given);
  return Number(execFileSync('git', ['log', '-1', '--format=%ct'], { cwd: ROOT, encoding: 'utf8' }));
}

/** The lines of what was made take the place of their former ones. */
function addSums(file: string): void {
  const others = existsSync(file)
    ? readFileSync(file, 'utf8')
        .split('\n')
        .filter((line) => line !== '')
    : [];
  const kept = others.filter((line) => !made.includes(line.slice(line.indexOf('  ') + 2)));
  const lines = made.map((name) => {
    const digest = createHash('sha256')
      .update(readFileSync(join(output, name)))
      .digest('hex');
    return `${digest}  ${name}`;
  });
  writeFileSync(file, `${[...kept, ...lines].join('\n')}\n`);
}
