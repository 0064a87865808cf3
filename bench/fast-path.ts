import { setTimeout as delay } from 'node:timers/promises';
import { systemLabComponents } from '#src/lab/components.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { Lab } from '#src/lab/lab.ts';
import { alternate, type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { ContainerPair, type Variant } from './container-pair.ts';
import { addFigures, QUANTITIES, SAMPLE_MS } from './quantities.ts';

const ROUNDS = 5;
const LONG_ROUNDS = 9;
/** flannel adds its rules after it said that it runs; a container gets its hooks a moment after it was seen. */
const SETTLE_MS = 3_000;

/** What goes past the host's rules, beside what does not. */
export const fastPath: Benchmark = {
  name: 'fast-path',
  title: 'Fast path',
  method: `As the benchmark of the data path, with ${ROUNDS} rounds: the variants are there all at once and are measured one after the other, ${SAMPLE_MS / 1_000} s each, forwards in odd rounds and backwards in even ones, with their daemons stopped (SIGSTOP). “weft” is there twice: what lies between the two is noise. “fast path” is weft with --fast-path=on on both hosts; “fast path to plain weft” has it on one of them only. Established flows go fast; connections are opened and closed on the slow way. The targets: 64-byte packets ≥ 0.6 and TCP_RR p50 ≤ 1.3 times host to host, a TCP stream ≥ 1.25 times flannel.`,
  beside: ['host to host', 'flannel', 'flannel, etcd v3', 'weft'],
  ratiosByRound: true,
  async run(bench) {
    const sheet = new Sheet();
    const name = `bench${process.pid}fast`;
    await using lab = await Lab.create(systemLabComponents(), { name, hosts: 0, signal: bench.signal });
    const etcd = await Etcd.start(lab, { options: ['--log-level=error', '--logger=zap'] });
    const pairs: ContainerPair[] = [];
    for (const variant of variantsOf(bench)) {
      pairs.push(await ContainerPair.create(lab, etcd, 2 * pairs.length + 1, variant));
      bench.say(`${variant.name} is there`);
    }
    await delay(SETTLE_MS, undefined, { signal: bench.signal });
    for (const pair of pairs) pair.freeze();
    for (const quantity of QUANTITIES)
      await alternate(pairs, bench.long ? LONG_ROUNDS : ROUNDS, async (pair) =>
        addFigures(bench, sheet, pair.variant.name, quantity, await pair.measure(quantity)),
      );
    return sheet.rows;
  },
};

function variantsOf({ programs }: Bench): Variant[] {
  const weft = programs.find(({ name }) => name === 'weft');
  const on = ['--fast-path=on'];
  const ours: Variant[] =
    weft === undefined
      ? []
      : [
          { name: 'weft', program: weft },
          { name: 'weft, again', program: weft },
          { name: 'weft, fast path', program: weft, flags: [on, on] },
          { name: 'weft, fast path to plain weft', program: weft, flags: [on, []] },
        ];
  const peers = programs
    .filter(({ name }) => name === 'flannel')
    .map((program) => ({ name: program.apis.includes('v2') ? 'flannel' : 'flannel, etcd v3', program }));
  return [{ name: 'host to host' }, ...peers, ...ours];
}
