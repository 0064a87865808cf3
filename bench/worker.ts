/**
 * What a benchmark does on the measured host: `worker.ts API URL STEP …`. It stands for the other
 * hosts (it writes their leases) and watches this host's kernel. Both are in one process, so that
 * one clock times them.
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import type { KernelObject } from '#src/state/object.ts';
import { withArrivals } from './arrivals.ts';
import { type Api, openWriter } from './lease-writer.ts';
import { PREFIX, peerLease, peerLeases, peerSubnet } from './leases.ts';

/** Between two puts: each is to find an idle daemon. */
const PAUSE_MS = 5;

const [api = '', url = '', step = '', ...words] = process.argv.slice(2);
const [first = 0, second = 0] = words.map(Number);

switch (step) {
  case 'config':
    putConfig(words[0] ?? '');
    break;
  case 'fill':
    await withWriter((writer) => writer.fill(peerLeases(first, second)));
    break;
  case 'remove':
    await withWriter((writer) => writer.remove(words[0] ?? ''));
    break;
  case 'drop':
    await withWriter(async (writer) => {
      for (let n = first; n < second; n++) await writer.remove(peerLease(n)[0]);
    });
    break;
  case 'puts':
    print(await withWriter((writer) => timePuts(writer, first, second)));
    break;
  case 'burst':
    print(await withWriter((writer) => timeBurst(writer, first, second)));
    break;
  default:
    throw new Error(`no step ${step}`);
}

function print(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value)}\n`);
}

async function withWriter<T>(use: (writer: Writer) => Promise<T>): Promise<T> {
  const writer = await openWriter(api as Api, url, `${PREFIX}/subnets`);
  try {
    return await use(writer);
  } finally {
    writer.close();
  }
}

type Writer = Awaited<ReturnType<typeof openWriter>>;

/** Through etcdctl where a v2 key is concerned: its writer knows leases only. */
function putConfig(config: string): void {
  const verb = api === 'v2' ? 'set' : 'put';
  execFileSync('etcdctl', [`--endpoints=${url}`, verb, `${PREFIX}/config`, config], {
    env: { ...process.env, ETCDCTL_API: api.slice(1) },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
}

/**
 * Puts new leases one after the other. Resolves with the milliseconds from sending each to the
 * kernel's event for its route. The first is left out: it waits for this process to connect and to
 * compile.
 */
async function timePuts(writer: Writer, from: number, to: number): Promise<number[]> {
  const samples: number[] = [];
  await withRoutes(async (arrival) => {
    for (let n = from; n < to; n++) {
      const arrived = arrival(n);
      const began = performance.now();
      const [at] = await Promise.all([arrived, writer.put(...peerLease(n))]);
      samples.push(at - began);
      await delay(PAUSE_MS);
    }
  });
  return samples.slice(1);
}

interface Burst {
  /** Milliseconds from the last put's answer to the last route. */
  readonly after: number;
  /** From the sending of each put to its route. */
  readonly each: readonly number[];
}

/** Puts many leases as fast as the store takes them. */
async function timeBurst(writer: Writer, from: number, to: number): Promise<Burst> {
  return await withRoutes(async (arrival) => {
    const began = new Map<string, number>();
    const arrivals = Array.from({ length: to - from }, (_, n) => arrival(from + n));
    await writer.fill(peerLeases(from, to), (name) => began.set(name, performance.now()));
    const written = performance.now();
    const all = await Promise.all(arrivals);
    const each = all.map((at, n) => at - (began.get(peerLease(from + n)[0]) ?? at));
    return { after: Math.max(0, Math.max(...all) - written), each };
  });
}

function withRoutes<T>(use: (arrival: (n: number) => Promise<number>) => Promise<T>): Promise<T> {
  const routeOf = (object: KernelObject) =>
    object.kind === 'route' ? object.destination.address : undefined;
  return withArrivals({}, routeOf, (arrival) => use((n) => arrival(peerSubnet(n), `route to peer ${n}`)));
}
