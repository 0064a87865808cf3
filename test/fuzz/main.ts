import { appendFile } from 'node:fs/promises';
import { inspect, parseArgs } from 'node:util';
import { play, seedFile } from './play.ts';
import { TARGETS } from './targets.ts';

/** `script/fuzz [TARGET] [--minutes N] [--seed S]`: exit code 1 when something was found. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    minutes: { type: 'string', default: '1' },
    seed: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

if (values.help) {
  console.log('script/fuzz [TARGET...] [--minutes N] [--seed S]');
  for (const { name, description } of TARGETS) console.log(`  ${name.padEnd(14)} ${description}`);
  process.exit(0);
}
const unknown = positionals.filter((name) => TARGETS.every((target) => target.name !== name));
if (unknown.length > 0) {
  console.error(`script/fuzz: there is no target ${unknown.join(', ')}; script/fuzz --help lists them`);
  process.exit(2);
}
const once = values.seed !== undefined;
const seed = once ? Number(values.seed) : Date.now() % 2 ** 31;
for (const target of TARGETS) {
  if (positionals.length > 0 && !positionals.includes(target.name)) continue;
  const forMs = once ? 1 : Number(values.minutes) * 60_000;
  const { rounds, finding } = await play(target, { forMs, seed });
  if (finding === undefined) {
    console.log(`${target.name}: ${rounds} rounds, nothing found`);
    continue;
  }
  process.exitCode = 1;
  console.log(`${target.name}: round ${rounds}, seed ${finding.seed}: ${inspect(finding.error)}`);
  if (!once) await appendFile(seedFile(target.name), `${finding.seed}\n`);
}
