import { VxlanBackend } from '#src/backend/vxlan.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { outputOf } from '#src/lab/components.ts';
import { ipv4, parseIpv4, prefix4 } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import { decodeAttributes } from '#src/network/lease-codec.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { Operation } from '#src/state/operation.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { alternate, type Benchmark, Sheet } from './benchmark.ts';
import { peerLease } from './leases.ts';

const PEERS = 10_000;
const ROUNDS = 5;
const BATCH = 512;

/** How far our netlink code is from the kernel's own limit. */
export const netlink: Benchmark = {
  name: 'netlink',
  title: 'Netlink',
  method: `${PEERS} peers' forwarding entries, neighbours and routes, each route with a metric of its own, into a fresh namespace: messages per second of weft's client, which makes them from objects, sends up to 1,020 at a time on another thread and reports each refusal. With --nlprog also those of a C program that does nothing else, ${BATCH} in a send: the speed of the kernel alone.`,
  async run(bench) {
    const sheet = new Sheet();
    const { nlprog } = bench;
    if (nlprog === undefined) bench.say('no --nlprog to compare with: this is our figure alone');
    let made = 0;
    await alternate(nlprog === undefined ? ['weft'] : ['weft', 'C'], ROUNDS, async (name) => {
      const namespace = `weft-bench-${process.pid}-${++made}`;
      await ip(['netns', 'add', namespace]);
      try {
        await ip(['-n', namespace, 'link', 'add', DEVICE, 'type', 'vxlan', 'id', '1', 'dstport', '8472']);
        await ip(['-n', namespace, 'addr', 'add', '10.255.0.0/32', 'dev', DEVICE]);
        await ip(['-n', namespace, 'link', 'set', DEVICE, 'up']);
        const seconds =
          nlprog === undefined || name === 'weft' ? await ours(namespace) : await limit(namespace, nlprog);
        const rate = (3 * PEERS) / seconds;
        bench.say(`${name}: ${rate.toFixed(0)} messages per second`);
        sheet.add('messages per second', '', name, rate);
      } finally {
        await ip(['netns', 'del', namespace]);
      }
    });
    return sheet.rows;
  },
};

const DEVICE = 'flannel.1';

async function ip(words: readonly string[]): Promise<void> {
  const argv = ['ip', ...words] as const;
  outputOf(argv, await systemCommands.run(['ip', ...words]));
}

/** What a daemon would add for its peers, in its order. */
function operations(): Operation[] {
  const [address, mac] = [parseIpv4('172.16.70.191'), parseMac('0a:00:00:00:00:01')];
  if (address === undefined || mac === undefined) throw new Error('no address');
  const backend = new VxlanBackend(
    { vni: 1, port: 8472, gbp: false, directRouting: false, learning: false, mtu: undefined },
    {
      network: { v4: prefix4(ipv4(0x0a000000), 8) },
      underlay: { name: 'eth0', mtu: 1500, address: { v4: address }, publicIp: { v4: address } },
      macs: { v4: mac },
    },
  );
  const objects: KernelObject[] = [];
  for (let n = 0; n < PEERS; n++) {
    const [name, value] = peerLease(n);
    const [subnets, decoded] = [parseSubnetName(name), decodeAttributes(value)];
    if (subnets === undefined || !decoded.ok) throw new Error(`no lease ${name}`);
    const lease = {
      subnets,
      attributes: decoded.attributes,
      expiry: { kind: 'reservation' },
      name,
      revision: 0n,
    } as const;
    objects.push(...backend.peerObjects(lease, { routeForm: 'linear' }));
  }
  const ranks = ['fdb', 'neighbour', 'route'];
  objects.sort((a, b) => ranks.indexOf(a.kind) - ranks.indexOf(b.kind));
  return objects.map((object) => ({ verb: 'replace', object }));
}

async function ours(namespace: string): Promise<number> {
  const all = operations();
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: `/run/netns/${namespace}` });
  try {
    const began = performance.now();
    const results = await kernel.apply(all);
    const seconds = (performance.now() - began) / 1_000;
    const refused = results.find((result) => !result.done);
    if (refused !== undefined) throw new Error(`refused: ${JSON.stringify(refused)}`);
    return seconds;
  } finally {
    kernel.close();
  }
}

/**
 * `PRIO=1 nlprog DEVICE PEERS noack BATCH` prints one line of JSON with the seconds that it took.
 */
async function limit(namespace: string, nlprog: string): Promise<number> {
  const words = [DEVICE, String(PEERS), 'noack', String(BATCH)];
  const argv = ['nsenter', `--net=/run/netns/${namespace}`, '--', 'env', 'PRIO=1', nlprog, ...words] as const;
  const { s, err } = JSON.parse(outputOf(argv, await systemCommands.run([...argv]))) as {
    s: number;
    err: number;
  };
  if (err !== 0) throw new Error(`${nlprog}: ${err} messages were refused`);
  return s;
}
