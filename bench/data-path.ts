import { setTimeout as delay } from 'node:timers/promises';
import { systemLabComponents } from '#src/lab/components.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import { Lab } from '#src/lab/lab.ts';
import { alternate, type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { ContainerPair, type Variant } from './container-pair.ts';
import { addFigures, QUANTITIES, type Quantity, SAMPLE_MS } from './quantities.ts';

const ROUNDS = 3;
const LONG_ROUNDS = 5;
/** flannel adds its rules after it said that it runs. */
const SETTLE_MS = 2_000;
const JUMBO = 9000;

/** What a packet costs on its way from container to container. */
export const dataPath: Benchmark = {
  name: 'data-path',
  title: 'Data path',
  method: `Between a container on one host and a container on another, each variant with two hosts and daemons of its own, all there at once: a quantity is measured on one variant after the other, ${SAMPLE_MS / 1_000} s each, forwards in odd rounds and backwards in even ones. Once the containers reach each other the daemons are stopped (SIGSTOP): only the kernel is at work. weft with iptables is there twice: what lies between the two is noise. A ratio is that of two samples of the same round, so that what else the machine did for longer than a round cancels out.

- *64-byte packets*: UDP datagrams with 64 bytes of payload, 64 to a sendmmsg call, as they arrive, the client on one processor and the server on another. *TCP_RR*, *UDP_RR*: a byte there and a byte back, both ends on one processor, so that it is the length of the path and not the waking of a processor. *Connections*: connect, a byte there and a byte back, close with RST, both ends on one processor. *TCP stream*: one, the ends on two processors; a packet of up to 64 kB crosses the wire whole, as with a network card that does all segmentation for VXLAN. *Without offload* it is cut up before the wire and merged again behind it (GRO), as with a card that does none.
- “br_netfilter” is net.bridge.bridge-nf-call-iptables, which Docker turns on; it is on where the name does not say that it is off. “jumbo” is an underlay of MTU ${JUMBO} instead of 1500, whose limit is “host to host, jumbo”. “no masquerade” is --ip-masq=false: rules for forwarding only.
- The hosts are network namespaces and the wire is a veth pair: a sender’s processor does most of the work of both hosts, so that these are figures of what a packet costs, not of a network card. Docker’s own rules, which cost the same with each flanneld, are not there. One flow, IPv4, one kernel. The traffic program is Node calling the C library: each call costs some 0.4 µs more than in C, in the figures of host to host as well, and a byte there and back takes four.`,
  beside: ['host to host', 'flannel', 'flannel, etcd v3'],
  async run(bench) {
    const sheet = new Sheet();
    const name = `bench${process.pid}data`;
    await using lab = await Lab.create(systemLabComponents(), { name, hosts: 0, signal: bench.signal });
    const etcd = await Etcd.start(lab, { options: ['--log-level=error', '--logger=zap'] });
    const pairs: ContainerPair[] = [];
    const iptables = await iptablesName(lab.store);
    for (const variant of variantsOf(bench, iptables)) {
      pairs.push(await ContainerPair.create(lab, etcd, 2 * pairs.length + 1, variant));
      bench.say(`${variant.name} is there`);
    }
    await delay(SETTLE_MS, undefined, { signal: bench.signal });
    for (const pair of pairs) pair.freeze();
    for (const quantity of QUANTITIES) {
      const measured = pairs.filter(({ variant }) => quantity.jumbo || variant.mtu !== JUMBO);
      const rounds = bench.long ? LONG_ROUNDS : ROUNDS;
      await alternate(measured, rounds, (pair) => measure(bench, pair, quantity, sheet));
    }
    return sheet.rows;
  },
};

/** Two programs go by this name, and packets pay them differently. */
const iptablesName = async (host: Host): Promise<string> =>
  (await host.must(['iptables', '--version'])).includes('nf_tables') ? 'iptables-nft' : 'iptables-legacy';

function variantsOf({ programs }: Bench, iptables: string): Variant[] {
  const weft = programs.find(({ name }) => name === 'weft');
  const ours: Variant[] =
    weft === undefined
      ? []
      : [
          { name: `weft, ${iptables}`, program: weft },
          { name: `weft, ${iptables}, again`, program: weft },
          { name: `weft, ${iptables}, br_netfilter off`, program: weft, bridgeNetfilter: false },
          { name: 'weft, nftables', program: weft, nftables: true },
          { name: 'weft, nftables, br_netfilter off', program: weft, nftables: true, bridgeNetfilter: false },
          { name: `weft, ${iptables}, no masquerade`, program: weft, masquerade: false },
          { name: `weft, ${iptables}, jumbo`, program: weft, mtu: JUMBO },
        ];
  const peers = programs
    .filter(({ name }) => name === 'flannel')
    .map((program) => ({ name: program.apis.includes('v2') ? 'flannel' : 'flannel, etcd v3', program }));
  return [{ name: 'host to host' }, { name: 'host to host, jumbo', mtu: JUMBO }, ...peers, ...ours];
}

async function measure(bench: Bench, pair: ContainerPair, quantity: Quantity, sheet: Sheet): Promise<void> {
  addFigures(bench, sheet, pair.variant.name, quantity, await pair.measure(quantity));
}
