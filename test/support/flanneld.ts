import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Daemon } from '#src/lab/daemon.ts';
import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import type { Host } from '#src/lab/host.ts';
import type { Lab } from '#src/lab/lab.ts';
import type { StoreKind } from '#src/lab/network.ts';
import type { Store } from '#src/lab/store.ts';
import { until } from '#src/sys/until.ts';

/** A file of this repository. */
export const inRepository = (path: string): string =>
  fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** The program under test; a release's single file takes its place by this variable. */
export const FLANNELD = process.env.WEFT_FLANNELD ?? inRepository('bin/flanneld');
export const WEFT = process.env.WEFT_WEFT ?? inRepository('bin/weft');
export const MK_DOCKER_OPTS = process.env.WEFT_MK_DOCKER_OPTS ?? inRepository('bin/mk-docker-opts');

/** A flanneld of another make for the mixed networks, by the registry API that it speaks. */
export const PEERS = { v2: process.env.WEFT_PEER_FLANNELD, v3: process.env.WEFT_PEER_FLANNELD_V3 } as const;

/** Why there is no mixed network to test; `false` when there is. */
export function noPeer(api: 2 | 3): string | false {
  const variable = api === 2 ? 'WEFT_PEER_FLANNELD' : 'WEFT_PEER_FLANNELD_V3';
  const path = api === 2 ? PEERS.v2 : PEERS.v3;
  if (path === undefined)
    return `needs a peer: ${variable}=path of a flanneld that speaks etcd ${api === 2 ? 'v2' : 'v3'}`;
  return existsSync(path) ? false : `${variable}: there is no ${path}`;
}

export const PREFIX = '/flannel-vxlan/network';
export const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';

/** A store by the API that is used of it: the embedded one has v3. */
export const STORES = [
  { api: 2, kind: 'etcd', called: 'etcd v2' },
  { api: 3, kind: 'etcd', called: 'etcd v3' },
  { api: 3, kind: 'embedded', called: 'the embedded store' },
] as const;

/** Starts a lab's store, without keys. */
export function startStore(lab: Lab, kind: StoreKind): Promise<Store> {
  return kind === 'etcd' ? Etcd.start(lab) : EmbeddedStore.start(lab.store, [WEFT]);
}

/** The operator's step: writes the network's configuration with the API's own etcdctl commands. */
export async function writeConfig(etcd: Store, api: 2 | 3, config = CONFIG): Promise<void> {
  await etcd.must(api, [api === 2 ? 'set' : 'put', `${PREFIX}/config`], config);
}

/** The flags of the scenario for a host. */
export function flagsFor(host: Host, etcd: Store): string[] {
  return [
    `-etcd-endpoints=${etcd.endpoints.join(',')}`,
    `-etcd-prefix=${PREFIX}`,
    '--ip-masq=true',
    `--iface=${host.address}`,
  ];
}

/** Starts flanneld under its name and waits until it runs: flannel of any version says so in the same words. */
export async function startFlanneld(
  host: Host,
  flags: readonly string[],
  program: string = FLANNELD,
): Promise<{ daemon: Daemon; subnetEnv: string }> {
  const starts = async () => ((await daemonLog(host)).match(/Running backend/g) ?? []).length;
  const before = await starts();
  const daemon = await host.start('flanneld', [program, ...flags]);
  await until(
    async () => {
      if ((await starts()) > before) return true;
      if (!daemon.isAlive()) throw new Error(`flanneld on ${host.name} ended:\n${await daemon.log()}`);
      return false;
    },
    { what: `start of flanneld on ${host.name}`, timeoutMs: 40_000, signal: host.signal },
  );
  return { daemon, subnetEnv: (await host.read('/run/flannel/subnet.env')) ?? '' };
}

/** What flanneld wrote on a host since its first start. */
export async function daemonLog(host: Host): Promise<string> {
  return (await (await host.daemon('flanneld'))?.log()) ?? '';
}

/** The host's subnet as subnet.env has it: `10.0.65` of `10.0.65.1/24`. */
export function subnetOf(subnetEnv: string): string {
  const match = /^FLANNEL_SUBNET=(\d+\.\d+\.\d+)\.1\/24$/m.exec(subnetEnv);
  if (match?.[1] === undefined) throw new Error(`no /24 in subnet.env: ${subnetEnv}`);
  return match[1];
}

/** Waits until the host has a route to a peer's subnet (`10.0.32`). */
export async function waitForRoute(host: Host, subnet: string): Promise<void> {
  await until(async () => (await host.must(['ip', 'route', 'show', `${subnet}.0/24`])) !== '', {
    what: `route to ${subnet}.0/24 on ${host.name}`,
    timeoutMs: 30_000,
    signal: host.signal,
  }).catch(async (error: Error) => {
    throw new Error(`${error.message}; flanneld said:\n${await daemonLog(host)}`);
  });
}

/** The value of a host's lease, from either API. */
export async function readLease(etcd: Store, api: 2 | 3, subnet: string): Promise<string> {
  const key = `${PREFIX}/subnets/${subnet}.0-24`;
  return (await etcd.must(api, api === 2 ? ['get', key] : ['get', '--print-value-only', key])).trimEnd();
}
