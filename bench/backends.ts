import { systemLabComponents } from '#src/lab/components.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { Lab } from '#src/lab/lab.ts';
import { alternate, type Benchmark, Sheet } from './benchmark.ts';
import { ContainerPair } from './container-pair.ts';
import { addFigures, QUANTITIES, SAMPLE_MS } from './quantities.ts';
import type { TrafficKind } from './traffic.ts';

const ROUNDS = 3;
const LONG_ROUNDS = 5;
/** Those that every kernel has. */
const BACKENDS = ['vxlan', 'host-gw', 'udp'];

/** TCP alone: a datagram that flanneld has no time for is lost. */
const KINDS: readonly TrafficKind[] = ['tcp-rr', 'stream'];

/** What a packet costs with each backend. */
export const backends: Benchmark = {
  name: 'backends',
  title: 'Backends',
  method: `As in “Data path”, with a pair of hosts for each backend in one run, ${SAMPLE_MS / 1_000} s for each sample, forwards in odd rounds and backwards in even ones; but the daemons run, because with the backend udp flanneld itself carries the packets. A ratio is that of two samples of the same round.`,
  beside: ['vxlan'],
  ratiosByRound: true,
  async run(bench) {
    const sheet = new Sheet();
    const [program] = bench.programs;
    if (program === undefined) return [];
    const name = `bench${process.pid}back`;
    await using lab = await Lab.create(systemLabComponents(), { name, hosts: 0, signal: bench.signal });
    const etcd = await Etcd.start(lab, { options: ['--log-level=error', '--logger=zap'] });
    const pairs: ContainerPair[] = [];
    for (const backend of BACKENDS) {
      const first = 2 * pairs.length + 1;
      pairs.push(await ContainerPair.create(lab, etcd, first, { name: backend, backend, program }));
      bench.say(`${backend} is there`);
    }
    for (const quantity of QUANTITIES) {
      if (!KINDS.includes(quantity.kind) || quantity.offload === false) continue;
      await alternate(pairs, bench.long ? LONG_ROUNDS : ROUNDS, async (pair) => {
        const { name: backend } = pair.variant;
        // On a machine that has other work, a server waits in vain for longer than it is patient.
        const found = await pair.measure(quantity).catch((error: Error) => bench.say(error.message));
        if (found !== undefined) addFigures(bench, sheet, backend, quantity, found);
      });
    }
    return sheet.rows;
  },
};
