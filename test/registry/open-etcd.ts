import { parseEndpoints } from '#src/registry/endpoints.ts';
import type { Credentials } from '#src/registry/etcd-options.ts';
import { EtcdV2Registry } from '#src/registry/etcd-v2.ts';
import { EtcdV3Registry } from '#src/registry/etcd-v3.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';

export const PREFIX = '/flannel-vxlan/network';
export const APIS = ['v3', 'v2'] as const;
export type Api = (typeof APIS)[number];

export interface OpenOptions {
  readonly tls?: TlsMaterial;
  readonly auth?: Credentials;
  /** As the flag gives it. */
  readonly prefix?: string;
  readonly callTimeoutMs?: number;
  /** How long a watch is silent before it asks for a sign of life. */
  readonly watchQuietMs?: number;
  readonly clock?: Clock;
}

/** One of etcd's two registries, at the first endpoint first. */
export function openEtcd(api: Api, endpoints: string, options: OpenOptions = {}): Registry {
  const { tls = {}, prefix = PREFIX, clock = systemClock, ...others } = options;
  const etcd = { endpoints: parseEndpoints(endpoints, { tls: false }), prefix, tls, ...others };
  const components = { clock, random: () => 0 };
  return api === 'v2' ? new EtcdV2Registry(components, etcd) : new EtcdV3Registry(components, etcd);
}
