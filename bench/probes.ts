import { setTimeout as delay } from 'node:timers/promises';
import { artefactsOf } from '#src/node/network-id.ts';
import type { Peer } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { alternate, type Benchmark, Sheet } from './benchmark.ts';
import { PREFIX } from './leases.ts';
import { Rig } from './rig.ts';
import { median } from './statistics.ts';

const PEERS = 1_000;
const MEASURE_MS = 60_000;
const LOOK_MS = 1_000;
/** A round of small packets and the next, at the budget's default of 50 packets a second. */
const MOST_S = 90;
/** Of the local API. */
const QUESTIONS = 21;
const MOST_STATUS_MS = 50;
const VARIANTS = [
  { name: 'probes', flags: [] },
  { name: 'no probes', flags: ['--probes=false'] },
] as const;

/** What it costs to measure every peer all the time. */
export const probes: Benchmark = {
  name: 'probes',
  title: 'Probes',
  method: `With ${PEERS} peers that all answer, inside the tunnel and outside of it, from another network namespace, and the default budget of 50 packets a second. Measured are the seconds until every peer of a host that just joined has been measured, then processor (user and system) and memory of flanneld over a minute, beside the same with --probes=false. The kernel's work for both ends is in it: the answers are made in the context of the sender. GET is a question to the local API and its whole answer, the median of ${QUESTIONS}.`,
  beside: ['no probes'],
  async run(bench) {
    const sheet = new Sheet();
    const weft = bench.programs.find(({ name }) => name === 'weft');
    if (weft === undefined) return [];
    await using rig = await Rig.create('v3', bench.signal);
    await rig.answerForPeers();
    await rig.fill(0, PEERS);
    const baseline = await rig.baseline();
    const { socket } = artefactsOf({ prefix: PREFIX }, { stateDir: rig.stateFolder, subnetFile: '' });
    const percents = new Map<string, number[]>(VARIANTS.map(({ name }) => [name, []]));
    await alternate(VARIANTS, bench.long ? 3 : 1, async ({ name, flags }) => {
      await rig.with({ ...weft, flags }, async (run) => {
        await rig.programmed(run, PEERS, baseline);
        const began = performance.now();
        await run.ready;
        await rig.answerTo();
        if (name === 'probes') {
          const seconds = (await untilMeasured(socket, began)) / 1_000;
          sheet.add('until every peer has been measured', 's', name, seconds, { atMost: MOST_S });
        } else await delay(MOST_S * 1_000);
        const before = run.cpu();
        await delay(MEASURE_MS);
        const percent = ((run.cpu() - before) / (MEASURE_MS / 1_000)) * 100;
        bench.say(`${name}: ${percent.toFixed(2)} %`);
        sheet.add('processor', '%', name, percent);
        percents.get(name)?.push(percent);
        sheet.add('memory', 'MB', name, run.memory().now);
        sheet.add('GET /v1/status', 'ms', name, await medianMs(() => askApi(socket, '/v1/status')), {
          atMost: MOST_STATUS_MS,
        });
        sheet.add('GET /v1/peers', 'ms', name, await medianMs(() => askPeers(socket)));
        const peers = await askPeers(socket);
        const up = peers.filter(({ probe }) => probe?.state === 'up').length;
        if (name === 'probes' && up !== PEERS) throw new Error(`${up} peers are up instead of ${PEERS}`);
      });
    });
    const without = percents.get('no probes') ?? [];
    for (const [round, percent] of (percents.get('probes') ?? []).entries())
      sheet.add('processor, more than without', '%', 'probes', percent - (without[round] ?? 0), {
        atMost: 1,
      });
    return sheet.rows;
  },
};

/** Of a question that is asked again and again. */
async function medianMs(ask: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let question = 0; question < QUESTIONS; question++) {
    const before = performance.now();
    await ask();
    times.push(performance.now() - before);
  }
  return median(times);
}

const askPeers = async (socket: string): Promise<readonly Peer[]> =>
  (await askApi(socket, '/v1/peers')).peers;

async function untilMeasured(socket: string, began: number): Promise<number> {
  for (;;) {
    const peers = await askPeers(socket);
    if (peers.length === PEERS && peers.every(({ probe }) => probe !== undefined))
      return performance.now() - began;
    if (performance.now() - began > MOST_S * 2_000) throw new Error('some peers are never measured');
    await delay(LOOK_MS);
  }
}
