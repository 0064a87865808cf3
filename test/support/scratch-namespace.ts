import { execFileSync } from 'node:child_process';
import type { TestContext } from 'node:test';
import { untilCarrier } from './carrier.ts';

/** A network namespace of one test's own. */
export interface ScratchNamespace {
  readonly path: string;
  /** Runs a command inside and returns what it printed; throws when it fails. */
  run(command: string): string;
  /** What a command of iproute2 says with `-j -d`, as it would be typed: `ip route show`. */
  json(command: string): Record<string, unknown>[];
  /** Down and up again, for Linux before 6.2 renames no device that is up. Its routes and neighbours go. */
  rename(device: string, name: string): void;
}

let made = 0;

/** An empty namespace, but for a veth `u0` with 192.0.2.1/24, up, and its other end `u1`; it is taken away when the test ends. */
export function scratchNamespace(t: TestContext): ScratchNamespace {
  const name = `weft-test-${process.pid}-${++made}`;
  const call = (words: readonly string[]) =>
    execFileSync(words[0] ?? '', words.slice(1), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  call(['ip', 'netns', 'add', name]);
  t.after(() => call(['ip', 'netns', 'del', name]));
  const run = (command: string) => call(['ip', 'netns', 'exec', name, ...command.split(' ')]);
  run('ip link add u0 type veth peer name u1');
  run('ip address add 192.0.2.1/24 dev u0');
  run('ip link set u0 up');
  run('ip link set u1 up');
  untilCarrier(run, 'u0', 'u1');
  return {
    path: `/run/netns/${name}`,
    run,
    json(command) {
      const [program, ...rest] = command.split(' ');
      return JSON.parse(run(`${program} -j -d ${rest.join(' ')}`) || '[]');
    },
    rename(device, to) {
      run(`ip link set ${device} down`);
      run(`ip link set ${device} name ${to}`);
      run(`ip link set ${to} up`);
    },
  };
}
