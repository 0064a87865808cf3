import { setTimeout as delay } from 'node:timers/promises';
import { artefactsOf } from '#src/node/network-id.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { type Benchmark, Sheet } from './benchmark.ts';
import { PREFIX } from './leases.ts';
import { Rig } from './rig.ts';

const SIZES = [10_000, 50_000] as const;
const SAMPLES = 5;
const CHECKS = 2;
const LOOK_MS = 250;

/** The cost of a full comparison, and how long a join or a comparison holds up the event loop. */
export const check: Benchmark = {
  name: 'check',
  title: 'Full comparison with nothing to do, and the event loop',
  method:
    'Every route, neighbour and forwarding entry is read from the kernel and compared with what is wanted (here every 5 s; by default each minute, for a thousandth of a processor at most). Measured are the processor seconds of one comparison and the longest delay of the event loop during it, and also the longest delay while the host joined. flannel has no such comparison.',
  async run(bench) {
    const sheet = new Sheet();
    const weft = bench.programs.find(({ name }) => name === 'weft');
    if (weft === undefined) return [];
    await using rig = await Rig.create('v2', bench.signal);
    let filled = 0;
    for (const size of SIZES) {
      await rig.fill(filled, size);
      filled = size;
      const baseline = await rig.baseline();
      const program = { ...weft, flags: ['--full-check-interval=5s'] };
      const { socket } = artefactsOf({ prefix: PREFIX }, { stateDir: rig.stateFolder, subnetFile: '' });
      for (let join = 0; join < SAMPLES; join++) {
        await rig.with(program, async (run) => {
          const heldUp = await observeJoin(socket, () => run.routes() < size + baseline);
          bench.say(`${size} peers: joined, held up ${heldUp.toFixed(1)} ms`);
          sheet.add(`${size} peers: event loop held up by the join`, 'ms', 'weft', heldUp, { atMost: 20 });
        });
      }
      await rig.with(program, async (run) => {
        await rig.programmed(run, size, baseline);
        await run.ready;
        await observe(socket, 1);
        for (let sample = 0; sample < SAMPLES; sample++) {
          const cpu = run.cpu();
          const heldUp = await observe(socket, CHECKS);
          const seconds = (run.cpu() - cpu) / CHECKS;
          bench.say(`${size} peers: ${seconds.toFixed(2)} s of processor, held up ${heldUp.toFixed(1)} ms`);
          sheet.add(`${size} peers: processor for one`, 's', 'weft', seconds);
          sheet.add(`${size} peers: event loop held up`, 'ms', 'weft', heldUp, { atMost: 20 });
        }
      });
    }
    return sheet.rows;
  },
};

/**
 * The longest delay of the event loop, in milliseconds, from the first status to the end of the
 * join.
 */
async function observeJoin(socket: string, isJoining: () => boolean): Promise<number> {
  let heldUp: number | undefined;
  for (; heldUp === undefined || isJoining(); await delay(LOOK_MS / 10)) {
    const status = await askNode(socket).catch(() => undefined);
    if (status === undefined || status === 'silent') continue;
    // The first status covers the time before it, which was measured coarsely.
    heldUp = heldUp === undefined ? 0 : Math.max(heldUp, status.eventLoopDelayMs);
  }
  return heldUp;
}

/**
 * Waits for `checks` comparisons. Resolves with the longest delay of the event loop meanwhile, in
 * milliseconds.
 */
async function observe(socket: string, checks: number): Promise<number> {
  let heldUp = 0;
  for (let first: number | undefined; ; await delay(LOOK_MS)) {
    const status = await askNode(socket);
    if (status === undefined || status === 'silent') throw new Error('flanneld does not report its status');
    // Each status starts the measurement again.
    if (first !== undefined) heldUp = Math.max(heldUp, status.eventLoopDelayMs);
    first ??= status.kernel.checks;
    if (status.kernel.checks - first >= checks) return heldUp;
  }
}
