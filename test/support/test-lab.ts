import { existsSync } from 'node:fs';
import { after, before } from 'node:test';
import { systemLabComponents } from '#src/lab/components.ts';
import { Lab, type LabOptions } from '#src/lab/lab.ts';
import { WEFT } from './flanneld.ts';

/** Programs that a test may need besides iproute2, with the Debian package that brings each. */
const PACKAGES: Readonly<Record<string, string>> = {
  dockerd: 'docker.io',
  docker: 'docker.io',
  containerd: 'containerd',
  ctr: 'containerd',
  xz: 'xz-utils',
  'qemu-aarch64-static': 'qemu-user-static',
  'qemu-system-x86_64': 'qemu-system-x86',
  etcd: 'etcd-server',
  etcdctl: 'etcd-client',
  tcpdump: 'tcpdump',
  tshark: 'tshark',
  busybox: 'busybox-static',
  ping: 'iputils-ping',
  wg: 'wireguard-tools',
  nft: 'nftables',
  iptables: 'iptables',
  'firewall-cmd': 'firewalld',
  openssl: 'openssl',
  'ssh-keygen': 'openssh-client',
  chromium: 'chromium',
};
const SEARCH_PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];

/** Why a test that needs root and these programs can't run here; `false` when it can: the `skip` option of a test. */
export function cannotRun(...programs: string[]): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  if (!existsSync('/usr/sbin/ip') && !existsSync('/sbin/ip')) return 'needs ip (Debian package iproute2)';
  for (const program of programs) {
    if (SEARCH_PATH.some((folder) => existsSync(`${folder}/${program}`))) continue;
    return `needs ${program} (Debian package ${PACKAGES[program] ?? program})`;
  }
  return false;
}

/** The owner of a lab: a test, or a whole file of them. */
export interface Owner {
  readonly signal: AbortSignal;
  after(cleanUp: () => Promise<void>): void;
}

/**
 * Makes something before the first test of a file, and takes it away after the last. With a reason to
 * skip the tests, nothing is made.
 */
export function wholeFile(skip: string | false, make: (owner: Owner) => Promise<void>): void {
  const stopper = new AbortController();
  const cleanUps: (() => Promise<void>)[] = [];
  before(async () => {
    if (skip !== false) return;
    await make({ signal: stopper.signal, after: (cleanUp) => void cleanUps.push(cleanUp) });
  });
  after(async () => {
    stopper.abort();
    for (const cleanUp of cleanUps.reverse()) await cleanUp();
  });
}

/** Names of the labs that tests make: the process that made it, and a number. */
export const TEST_LAB = /^t(\d+)n/;

let made = 0;
const open = new Set<Lab>();

/**
 * A lab for one test, with a name of its own, taken away when the test ends, however it ends. When the run is
 * interrupted, all labs of this process are taken away before it ends.
 */
export async function testLab(t: Owner, options: Omit<LabOptions, 'name' | 'signal'>): Promise<Lab> {
  const name = `t${process.pid}n${++made}`;
  const lab = await Lab.create(systemLabComponents(WEFT), { ...options, name, signal: t.signal });
  if (made === 1) {
    process.once('SIGINT', interrupted);
    process.once('SIGTERM', interrupted);
  }
  open.add(lab);
  t.after(async () => {
    await lab.down();
    open.delete(lab);
  });
  return lab;
}

function interrupted(): void {
  Promise.allSettled([...open].map((lab) => lab.down())).then(
    () => process.exit(130),
    () => process.exit(130),
  );
}
