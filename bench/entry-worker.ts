/**
 * What the benchmark of tenants does on the measured host: `entry-worker.ts URL FOLDER FIRST LAST`. It writes records of
 * another host's containers and waits for their forwarding entries in the tenants' namespace. One process does both, so that
 * one clock times them. Writes the milliseconds of each as one line of JSON.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { formatIp, ipv4, parseIpv4 } from '#src/lib/ip.ts';
import { formatAddress } from '#src/tenant/address-codec.ts';
import { macOf } from '#src/tenant/mac-of.ts';
import { withArrivals } from './arrivals.ts';
import { openWriter } from './lease-writer.ts';

/** Between two puts: each is to find an idle daemon. */
const PAUSE_MS = 5;
const NAMESPACE = '/run/netns/weft';
/** A host that is not there: an address of TEST-NET-2, RFC 5737. */
const HOST = { host: '0'.repeat(32), vtep: ipv4(parseIpv4('198.51.100.9') ?? 0) };

const [url = '', folder = '', from = '', to = ''] = process.argv.slice(2);
const [first, last] = [parseIpv4(from) ?? 0, parseIpv4(to) ?? 0];
const writer = await openWriter('v3', url, folder);
const samples: number[] = [];
try {
  await withArrivals(
    { namespace: NAMESPACE },
    (object) => (object.kind === 'fdb' ? object.mac : undefined),
    async (arrival) => {
      for (let n = first; n <= last; n++) {
        const ip = ipv4(n);
        const mac = macOf(ip);
        const arrived = arrival(mac, `forwarding entry for ${formatIp(ip)}`);
        const record = formatAddress({
          ...HOST,
          ip,
          mac,
          state: 'published',
          names: [],
          keep: false,
          since: Date.now(),
        });
        const began = performance.now();
        const [at] = await Promise.all([arrived, writer.put(formatIp(ip), record)]);
        samples.push(at - began);
        await delay(PAUSE_MS);
      }
    },
  );
  for (let n = first; n <= last; n++) await writer.remove(formatIp(ipv4(n)));
} finally {
  writer.close();
}
// The first waited for this process to connect and to compile.
process.stdout.write(`${JSON.stringify(samples.slice(1))}\n`);
