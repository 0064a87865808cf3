import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { systemLabComponents } from '#src/lab/components.ts';
import type { Container } from '#src/lab/container.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { Lab } from '#src/lab/lab.ts';
import { pingOnce } from '#src/lab/reach.ts';
import { until } from '#src/sys/until.ts';
import { alternate, type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { inRepository } from './program.ts';
import { addFigures, QUANTITIES, SAMPLE_MS } from './quantities.ts';
import { quantile } from './statistics.ts';
import { NETWORKS, type NetworkName, PREFIX, TENANT, ThreeNetworks } from './three-networks.ts';
import { measureOn, TrafficEnds } from './traffic-ends.ts';
import { WIRE_ADDRESSES } from './wire.ts';

const ROUNDS = 5;
const LONG_ROUNDS = 15;
const STARTS = 20;
const LONG_STARTS = 60;
const AT_ONCE = 200;
const SETTLE_MS = 5_000;
const START_MS = 60_000;
const TENANT_SUBNET = '10.90.0.0/20';
/** Addresses that no container gets, others for each round: an entry stays for a while after its record has gone. */
const putsOf = (round: number): string[] => [`10.90.${8 + round}.1`, `10.90.${8 + round}.250`];
const HOST_TO_HOST = 'host to host';
const MEMORY = 'memory of flanneld';

/** What a tenant costs beside the two other ways to connect the containers of the same dockerds. */
export const tenants: Benchmark = {
  name: 'tenants',
  title: 'Tenants, beside swarm’s overlay and a flannel network',
  method: `Two hosts with one dockerd each, whose containers are in three networks at the same time: a tenant (\`docker network create -d weft\`), an attachable overlay of a swarm of these two, and docker0 on weft’s own flannel network. Host and container, wire and traffic are as in the section before; here the daemons are not stopped, and Docker’s own rules are there. Quantities are measured on one network after the other, forwards in odd rounds and backwards in even ones, ${SAMPLE_MS / 1_000} s each. A ratio is the median of the ratios of samples of the same round.

- *docker run*: until the command is back, with a container of that network on each host already. *First answer*: from the start of the command until a container on the other host has its first answer; that one learns the address from Docker’s API when the command is back, and sends a ping every 2 ms from then on. In brackets is the worst of all starts.
- *${AT_ONCE} at once*: ${AT_ONCE / 2} \`docker run\` on each host, all started in one moment, until the last one is back; and \`docker rm -f\` of all of them.
- *Memory*: VmRSS of flanneld, on both hosts, with the flannel network and Docker’s driver.
- *Put to entry*: from sending the put of an address’s record to etcd until the kernel of the other host reports the forwarding entry.
- Swarm’s part of the work is in dockerd, weft’s in flanneld, so that memory of theirs is no comparison. The kernel measured on has no IPVS: swarm’s services would not work there, its containers do not need it.
- Both hosts, both dockerds and etcd share the machine’s processors, here with other programs too: the ratios are what counts.`,
  ratiosByRound: true,
  async run(bench) {
    const sheet = new Sheet();
    const [program] = bench.programs;
    if (program === undefined) return [];
    const name = `bench${process.pid}tenants`;
    await using lab = await Lab.create(systemLabComponents(), { name, hosts: 0, signal: bench.signal });
    const etcd = await Etcd.start(lab, { options: ['--log-level=error', '--logger=zap'] });
    const networks = await ThreeNetworks.create(lab, etcd, program);
    const memory = async (what: string): Promise<void> => {
      await delay(SETTLE_MS, undefined, { signal: bench.signal });
      for (const { pid } of networks.daemons) {
        const megabytes = residentMegabytes(pid);
        bench.say(`${MEMORY}, ${what}: ${megabytes.toFixed(0)} MB`);
        sheet.add(`${MEMORY}, ${what}`, 'MB', 'tenant', megabytes);
      }
    };
    await memory('no tenant');
    await networks.createTenant(TENANT_SUBNET);
    await networks.createOverlay('10.91.0.0/20');
    await memory('a tenant, no container');
    const residents = new Map<NetworkName, readonly [Container, Container]>();
    for (const network of NETWORKS) residents.set(network, await placeResidents(networks, network));
    await memory('1 container on each host');
    await measureStarts(bench, networks, residents, sheet);
    await measurePath(bench, networks, residents, sheet);
    await measureEntries(bench, networks, etcd, sheet);
    await alternate(NETWORKS, bench.long ? 2 : 1, async (network) => {
      const seconds = await networks.runAtOnce(network, AT_ONCE);
      bench.say(`${AT_ONCE} docker run at once: ${network} ${seconds.toFixed(1)} s`);
      sheet.add(`${AT_ONCE} docker run at once`, 's', network, seconds);
      if (network === 'tenant') await memory(`${AT_ONCE / 2} containers on each host`);
      sheet.add(`${AT_ONCE} docker rm at once`, 's', network, await networks.removeAtOnce(AT_ONCE));
    });
    return sheet.rows;
  },
};

/** A container on each host that stays, when they reach each other. */
async function placeResidents(
  networks: ThreeNetworks,
  network: NetworkName,
): Promise<readonly [Container, Container]> {
  const [one, two] = networks.dockers;
  const name = network.replace(' ', '-');
  const client = await networks.run(one, network, name);
  const server = await networks.run(two, network, name);
  await until(async () => (await pingOnce(client, server)).ms !== undefined, {
    what: `answer from container to container in the ${network}`,
    timeoutMs: START_MS,
    signal: client.signal,
  });
  return [client, server];
}

type Residents = ReadonlyMap<NetworkName, readonly [Container, Container]>;

async function measureStarts(
  { long, say }: Bench,
  networks: ThreeNetworks,
  residents: Residents,
  sheet: Sheet,
): Promise<void> {
  await alternate(NETWORKS, long ? LONG_STARTS : STARTS, async (network) => {
    const from = residents.get(network)?.[1];
    if (from === undefined) return;
    const { run, answered } = await networks.firstAnswer(from, network, 'new');
    say(`${network}: docker run ${run.toFixed(0)} ms, first answer ${(answered - run).toFixed(1)} ms later`);
    sheet.add('docker run', 'ms', network, run);
    sheet.add('docker run to the first answer', 'ms', network, answered);
    sheet.add('first answer after docker run', 'ms', network, answered - run);
  });
}

async function measurePath(
  bench: Bench,
  { wire }: ThreeNetworks,
  residents: Residents,
  sheet: Sheet,
): Promise<void> {
  const [client, server] = wire.hosts;
  const hosts = [HOST_TO_HOST, new TrafficEnds(client, server, WIRE_ADDRESSES[1])] as const;
  const ends: (readonly [string, TrafficEnds])[] = [
    ...[...residents].map(
      ([network, [left, right]]) => [network, new TrafficEnds(left, right, right.address)] as const,
    ),
    hosts,
  ];
  for (const quantity of QUANTITIES) {
    await alternate(ends, bench.long ? LONG_ROUNDS : ROUNDS, async ([name, between]) => {
      addFigures(bench, sheet, name, quantity, await measureOn(wire, between, quantity));
    });
  }
}

async function measureEntries(
  { say }: Bench,
  { wire }: ThreeNetworks,
  etcd: Etcd,
  sheet: Sheet,
): Promise<void> {
  const folder = `${PREFIX}/tenants/addresses/${TENANT}`;
  const [url = ''] = etcd.endpoints;
  const worker = [process.execPath, inRepository('bench/entry-worker.ts'), url, folder];
  let round = 0;
  await alternate(wire.hosts, 2, async (host) => {
    const argv = [...worker, ...putsOf(round++)];
    const samples = JSON.parse(await host.must(argv, { timeoutMs: 300_000 })) as number[];
    const [p50, p99] = [quantile(samples, 0.5), quantile(samples, 0.99)];
    say(`put to entry: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`);
    sheet.add('put to entry, p50', 'ms', 'tenant', p50);
    sheet.add('put to entry, p99', 'ms', 'tenant', p99);
  });
}

function residentMegabytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1024;
}
