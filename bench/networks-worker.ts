/**
 * What the benchmark of many networks does on the measured host: `networks-worker.ts config URL NETWORKS` writes their configs,
 * `networks-worker.ts puts URL NETWORKS COUNT` writes leases of a peer, one network after the other, and waits for the
 * kernel's report of each route. One process does both, so that one clock times them: milliseconds, as a line of JSON.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { formatIpv4, ipv4 } from '#src/lib/ip.ts';
import type { KernelObject } from '#src/state/object.ts';
import { withArrivals } from './arrivals.ts';
import { openWriter } from './lease-writer.ts';
import { PREFIX } from './leases.ts';

/** Between two puts: each is to find an idle daemon. */
const PAUSE_MS = 20;
const RANGE = 0x0a000000;
/** A /18 each. */
const RANGE_SIZE = 2 ** 14;
const SUBNET_LENGTH = 26;
const SUBNET_SIZE = 2 ** (32 - SUBNET_LENGTH);
/** The last one of a range: the measured host takes one of the first hundred. */
const LAST = RANGE_SIZE / SUBNET_SIZE - 1;

const [step = '', url = '', ...numbers] = process.argv.slice(2);
const [networks = 0, count = 0] = numbers.map(Number);
const writer = await openWriter('v3', url, PREFIX);
try {
  if (step === 'config') await writer.fill(configs());
  else process.stdout.write(`${JSON.stringify(await timePuts())}\n`);
} finally {
  writer.close();
}

function* configs(): Generator<readonly [string, string]> {
  for (let n = 0; n < networks; n++) {
    const range = formatIpv4(ipv4(RANGE + n * RANGE_SIZE));
    const config = {
      Network: `${range}/18`,
      SubnetLen: SUBNET_LENGTH,
      Backend: { Type: 'vxlan', VNI: n + 1 },
    };
    yield [`n${n}/config`, JSON.stringify(config)];
  }
}

async function timePuts(): Promise<number[]> {
  const samples: number[] = [];
  const routeOf = (object: KernelObject) =>
    object.kind === 'route' ? object.destination.address : undefined;
  await withArrivals({}, routeOf, async (arrival) => {
    for (let at = 0; at < count; at++) {
      // Spread over the networks.
      const n = networks <= count ? at % networks : Math.floor((at * networks) / count);
      const subnet = ipv4(RANGE + n * RANGE_SIZE + (LAST - Math.floor(at / networks)) * SUBNET_SIZE);
      const arrived = arrival(subnet, `route to ${formatIpv4(subnet)}`);
      const began = performance.now();
      const value = JSON.stringify({
        PublicIP: formatIpv4(ipv4(0x64400001 + at)),
        BackendType: 'vxlan',
        BackendData: { VNI: n + 1, VtepMAC: `0a:00:00:00:${hex(at >> 8)}:${hex(at & 255)}` },
      });
      const name = `n${n}/subnets/${formatIpv4(subnet)}-${SUBNET_LENGTH}`;
      const [routed] = await Promise.all([arrived, writer.put(name, value)]);
      samples.push(routed - began);
      await delay(PAUSE_MS);
    }
  });
  // The first waited for this process to connect and to compile.
  return samples.slice(1);
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}
