import { type Container, containersOf } from '#src/lab/container.ts';
import type { Lab } from '#src/lab/lab.ts';
import { WeftError } from '#src/lib/errors.ts';

/** Pings that run at once. */
const AT_ONCE = 4;

export interface PingResult {
  readonly from: string;
  readonly to: string;
  /** Round-trip time in milliseconds; `undefined` when there was no answer in two seconds. */
  readonly ms: number | undefined;
}

/** One ping between each two containers of different hosts, in both directions. */
export async function pingAll(lab: Lab, onResult: (result: PingResult) => void): Promise<PingResult[]> {
  const containers = await allContainers(lab);
  const pairs = containers.flatMap((from) =>
    containers.filter((to) => to.host !== from.host).map((to) => [from, to] as const),
  );
  const results: PingResult[] = [];
  const work = async (): Promise<void> => {
    for (let pair = pairs.shift(); pair !== undefined; pair = pairs.shift()) {
      const result = await pingOnce(pair[0], pair[1]);
      results.push(result);
      onResult(result);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
}

export async function pingOnce(from: Container, to: Container): Promise<PingResult> {
  const { stdout } = await from.run(['ping', '-n', '-c1', '-W2', to.address]);
  const ms = /time=([\d.]+) ms/.exec(stdout)?.[1];
  return { from: from.name, to: to.name, ms: ms === undefined ? undefined : Number(ms) };
}

export async function allContainers(lab: Lab): Promise<Container[]> {
  return (await Promise.all(lab.hosts.map((host) => containersOf(host)))).flat();
}

/** A container by its full name, `h1/c1`; throws `no-such-container`. */
export async function containerCalled(lab: Lab, name: string): Promise<Container> {
  const all = await allContainers(lab);
  const found = all.find((container) => container.name === name);
  if (found !== undefined) return found;
  throw new WeftError('no-such-container', `lab ${lab.name} has no container ${name}`, {
    remedy: `choose one of ${all.map((it) => it.name).join(', ')}`,
  });
}
