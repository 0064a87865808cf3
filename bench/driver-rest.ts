import { setTimeout as delay } from 'node:timers/promises';
import { Docker } from '#src/lab/docker.ts';
import { alternate, type Benchmark, Sheet } from './benchmark.ts';
import type { Program } from './program.ts';
import { Rig } from './rig.ts';

const STARTS = 8;
const RESTS = 1;
const LONG_RESTS = 3;
const PEERS = 10;
const SETTLE_MS = 10_000;
const REST_MS = 60_000;
const OFF = 'driver off';
const NO_DOCKER = 'auto, no Docker';
const NO_TENANT = 'auto, Docker and no tenant';

/** What Docker's driver costs a host that does not use it. */
export const driverRest: Benchmark = {
  name: 'driver-rest',
  title: 'Docker’s driver where nobody uses it',
  method: `flanneld with ${PEERS} peers (etcd v2) and --docker-driver=off; with =auto on a host without Docker; and with =auto beside a dockerd, without a tenant: it then serves the driver, follows Docker’s events and the tenants’ keys (etcd v3), and keeps a network namespace. READY as above, with the most memory until then; memory ten seconds later; processor over the minute that follows.`,
  beside: [OFF],
  async run({ programs: [program], long, signal, say }) {
    const sheet = new Sheet();
    if (program === undefined) return [];
    await using rig = await Rig.create('v2', signal);
    await rig.fill(0, PEERS);
    await Docker.start(rig.host, { options: [], cgroup: rig.cgroup });
    const variants: readonly (readonly [string, Program])[] = [
      [OFF, flagged(program, '--docker-driver=off')],
      [NO_DOCKER, flagged(program, '--docker-host=unix:///run/no-docker.sock')],
      [NO_TENANT, flagged(program)],
    ];
    await alternate(variants, STARTS, async ([name, variant]) => {
      await rig.with(variant, async (run) => {
        const ms = (await run.ready) - run.startedAt;
        sheet.add('READY', 'ms', name, ms);
        sheet.add('memory at READY', 'MB', name, run.memory().peak);
        say(`${name}: READY after ${ms.toFixed(0)} ms`);
      });
    });
    await alternate(variants, long ? LONG_RESTS : RESTS, async ([name, variant]) => {
      await rig.with(variant, async (run) => {
        await run.ready;
        await delay(SETTLE_MS);
        const before = run.cpu();
        const { now } = run.memory();
        await delay(REST_MS);
        const percent = ((run.cpu() - before) / (REST_MS / 1_000)) * 100;
        sheet.add('memory at rest', 'MB', name, now);
        sheet.add('processor at rest', '%', name, percent);
        say(`${name}: ${now.toFixed(0)} MB, ${percent.toFixed(2)} %`);
      });
    });
    return sheet.rows;
  },
};

const flagged = (program: Program, ...flags: readonly string[]): Program => ({
  ...program,
  flags: [...(program.flags ?? []), ...flags],
});
