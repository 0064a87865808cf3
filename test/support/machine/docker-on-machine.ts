import { BUILD_IMAGE, IMAGE } from '#src/lab/docker.ts';
import { Machine } from '#src/lab/machine.ts';
import type { CleanMachine } from './clean-machine.ts';

/** The network of a container on a clean machine. Programs that run in it are the test's machine's. */
export class MachineContainer extends Machine {
  readonly address: string;
  readonly pid: string;
  readonly machine: CleanMachine;
  /** Docker's name for it. */
  readonly container: string;

  constructor(on: CleanMachine, name: string, { address, pid }: { address: string; pid: string }) {
    super(on.components, { name: `${on.name}/${name}`, folder: on.folder, signal: on.signal });
    this.machine = on;
    this.container = name;
    this.address = address;
    this.pid = pid;
  }

  override enter(argv: readonly string[]): [string, ...string[]] {
    return ['nsenter', `--net=${this.machine.path(`/proc/${this.pid}/ns/net`)}`, '--', ...argv];
  }

  override enterNetwork(argv: readonly string[]): [string, ...string[]] {
    return this.enter(argv);
  }

  override get shared(): { inside: string; outside: string } {
    return { inside: this.folder, outside: this.folder };
  }
}

/** Makes the lab's image in the machine's own Docker. */
export async function buildImage(machine: CleanMachine): Promise<void> {
  await machine.must(['sh', '-c', BUILD_IMAGE, 'sh', '/tmp/image']);
  await machine.must(['rm', '-r', '/tmp/image']);
}

/** `docker run --detach OPTIONS` of the lab's image: a web server that answers with its caller's address. */
export async function runWeb(
  machine: CleanMachine,
  name = 'web',
  options: readonly string[] = [],
): Promise<MachineContainer> {
  // A first process without a handler for SIGTERM would be waited for ten seconds.
  const always = ['--detach', '--name', name, '--stop-signal', 'SIGKILL'];
  const serve = ['httpd', '-f', '-p', '0.0.0.0:8080', '-h', '/www'];
  await machine.must(['docker', 'run', ...always, ...options, IMAGE, ...serve]);
  return containerOn(machine, name);
}

/** A container that runs. */
export async function containerOn(machine: CleanMachine, name = 'web'): Promise<MachineContainer> {
  const format = '{{.State.Pid}} {{.NetworkSettings.IPAddress}}';
  const said = await machine.must(['docker', 'inspect', '--format', format, name]);
  const [pid, address] = said.trim().split(' ');
  if (pid === undefined || pid === '0' || !address) throw new Error(`${name} on ${machine.name}: ${said}`);
  return new MachineContainer(machine, name, { address, pid });
}
