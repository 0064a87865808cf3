import { setTimeout as delay } from 'node:timers/promises';
import { until } from '#src/sys/until.ts';
import { type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { PREFIX, peerLease } from './leases.ts';
import { Agents } from './scale/agents.ts';
import { ScaleRig } from './scale/scale-rig.ts';
import { agentsFor } from './scale.ts';

const SIZES = [1_000, 10_000, 50_000] as const;
const DAY = 86_400;
const SETTLE_MS = 5_000;
const SHARED_CONNECTIONS = 8;

/** What many hosts notice when the leader of their registry is gone. */
export const scaleFailover: Benchmark = {
  name: 'scale-failover',
  title: 'A registry of three members that loses its leader, under many hosts',
  method: `Three etcd members, hosts as in the section before: each asks one of the three, chosen by lot. The leader is killed (SIGKILL). Seconds from then until the rest took a write again; until all played hosts watch again that had lost their watches, with flanneld’s own pauses between attempts; and until the last real agent’s kernel had the route of a host that came while the members chose a leader. The written lease is sent again and again until it is taken.`,
  beside: [],
  plotted: ['until all played hosts watch again', 'until a host that came meanwhile has its last route'],
  async run(bench) {
    const sheet = new Sheet();
    for (const hosts of bench.hosts.length > 0 ? bench.hosts : SIZES) await failOver(bench, hosts, sheet);
    return sheet.rows;
  },
};

async function failOver(bench: Bench, hosts: number, sheet: Sheet): Promise<void> {
  const [program] = bench.programs;
  if (program === undefined) return;
  const count = agentsFor(hosts, bench.agents);
  const name = `${hosts.toLocaleString('en')} hosts`;
  const add = (what: string, unit: string, value: number): void => sheet.add(what, unit, name, value);
  await using rig = await ScaleRig.create({ members: 3, agents: count, proxy: false, signal: bench.signal });
  const { load } = rig;
  const played = hosts - count;
  await load.do({ do: 'connect', members: rig.asked, shared: SHARED_CONNECTIONS, hosts });
  await load.fill({ from: 0, to: played, ttl: DAY, bytes: 0 });
  const agents = await Agents.start(rig.agentHosts, program, rig.endpoints, ['--probes=false']);
  try {
    await agents.untilJoined(hosts - 1);
    await load.watch();
    await delay(SETTLE_MS, undefined, { signal: bench.signal });
    const leader = await rig.leader();
    const left = rig.etcd.members.filter((_, at) => at !== leader);
    const before = await rig.read();
    const again = load.failover();
    const killed = performance.timeOrigin + performance.now();
    await rig.etcd.members[leader]?.kill();
    const writable = writeOnce(
      rig,
      left.map(({ endpoint }) => endpoint),
      played,
    );
    const [taken, watching] = await Promise.all([writable, again]);
    const right = await agents.untilRight(hosts);
    const after = await rig.read();
    const seconds = (at: number): number => (at - killed) / 1_000;
    add('until a write is taken', 's', seconds(taken));
    add('until all played hosts watch again', 's', seconds(watching.back));
    add('until a host that came meanwhile has its last route', 's', seconds(right));
    add('watches that were lost', '', watching.most);
    add('memory of three members before', 'MB', before.residentMegabytes);
    add('memory of the two that are left', 'MB', after.residentMegabytes);
    bench.say(
      `${name}: a write after ${seconds(taken).toFixed(1)} s, all watch after ${seconds(watching.back).toFixed(1)} s (${watching.most} watches were lost), agents right after ${seconds(right).toFixed(1)} s; ${before.residentMegabytes.toFixed(0)} MB in three members, ${after.residentMegabytes.toFixed(0)} MB in two`,
    );
    add('real agents', '', count);
  } finally {
    await agents.stop();
  }
}

/** Writes the lease of host `n`, again until it is taken; when that was, in milliseconds since 1970. */
async function writeOnce({ etcd, lab }: ScaleRig, endpoints: readonly string[], n: number): Promise<number> {
  const [name, value] = peerLease(n);
  const host = etcd.members.find(({ endpoint }) => endpoints.includes(endpoint))?.host ?? lab.store;
  const words = ['etcdctl', '--command-timeout=1s', `--endpoints=${endpoints.join()}`];
  await until(
    async () => (await host.run([...words, 'put', `${PREFIX}/subnets/${name}`, value])).code === 0,
    { what: 'write to the rest of etcd', timeoutMs: 60_000, signal: lab.signal },
  );
  return performance.timeOrigin + performance.now();
}
