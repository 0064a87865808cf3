import { containersOf } from '#src/lab/container.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';

export interface HostStatus {
  readonly name: string;
  readonly address: string;
  /** The host's own subnet, once it has one. */
  readonly subnet: string | undefined;
  /** Other hosts' subnets it has a route to. */
  readonly peers: number;
  /** Name and whether it runs, for each program that was started. */
  readonly programs: readonly { readonly name: string; readonly pid: number; readonly running: boolean }[];
  readonly containers: readonly {
    readonly name: string;
    readonly address: string;
    /** Of Docker, unless it is the host's subnet. */
    readonly network: string | undefined;
  }[];
}

const PROGRAMS = ['etcd', 'store', 'flanneld', 'dockerd'];

/** What runs where, looked up on the hosts themselves. */
export async function statusOf(lab: Lab): Promise<HostStatus[]> {
  const all: HostStatus[] = [];
  for (const host of [...lab.stores, ...lab.hosts]) {
    const programs: { name: string; pid: number; running: boolean }[] = [];
    for (const name of PROGRAMS) {
      const daemon = await host.daemon(name);
      if (daemon !== undefined) programs.push({ name, pid: daemon.pid, running: daemon.isAlive() });
    }
    all.push({
      name: host.name,
      address: host.address,
      subnet: await subnetOf(host),
      peers: lab.stores.includes(host) ? 0 : await peersOf(lab, host),
      programs,
      containers: (await containersOf(host)).map(({ name, address, network }) => ({
        name,
        address,
        network,
      })),
    });
  }
  return all;
}

/** How many other hosts' subnets a host has a route to. */
export async function peersOf(lab: Lab, host: Host): Promise<number> {
  const routes = new Set((await host.ip(['route', 'show'])).map((route) => route.dst));
  let peers = 0;
  for (const other of lab.hosts) {
    const subnet = other === host ? undefined : await subnetOf(other);
    if (subnet !== undefined && routes.has(subnet.replace(/\.\d+\//, '.0/'))) peers++;
  }
  return peers;
}

/** The host's own address in the overlay with its subnet's length, as subnet.env has it: `10.0.65.1/24`. */
async function subnetOf(host: Host): Promise<string | undefined> {
  return /^FLANNEL_SUBNET=(.+)$/m.exec((await host.read('/run/flannel/subnet.env')) ?? '')?.[1];
}
