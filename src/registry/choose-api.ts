import { posix } from 'node:path';
import { messageOf } from '#src/lib/errors.ts';

export type EtcdApi = 'v2' | 'v3';

/** What one look through one API showed. */
export type Sight =
  /** `leases` is counted only where both APIs have a config. */
  | { readonly kind: 'config'; readonly leases?: number }
  | { readonly kind: 'absent' }
  /** The servers do not speak this API. */
  | { readonly kind: 'unsupported'; readonly error: unknown }
  | { readonly kind: 'failed'; readonly error: unknown };

export interface Sights {
  readonly v2: Sight;
  readonly v3: Sight;
}

/** Where the config is looked for, for the texts. */
export interface Place {
  /** For etcdctl: `http://10.0.0.1:2379,http://10.0.0.2:2379`. */
  readonly endpoints: string;
  readonly prefix: string;
}

export type Choice =
  | { readonly kind: 'use'; readonly api: EtcdApi; readonly why: string }
  | { readonly kind: 'wait'; readonly why: string };

const other = (api: EtcdApi): EtcdApi => (api === 'v2' ? 'v3' : 'v2');

/**
 * Which API a host with `--etcd-api=auto` uses: the one where the operator put the config. `patient` is false
 * once an API that keeps failing has had its chance and the other's config may be taken.
 */
export function chooseApi(sights: Sights, place: Place, patient: boolean): Choice {
  const { v2, v3 } = sights;
  if (v2.kind === 'config' && v3.kind === 'config') {
    const [older, newer] = [v2.leases ?? 0, v3.leases ?? 0];
    const counts = `the network config is in both stores; v2 has ${count(older)}, v3 has ${count(newer)}`;
    const api = older > 0 && newer === 0 ? 'v2' : 'v3';
    return { kind: 'use', api, why: `${counts} (--etcd-api=${other(api)} would take the other)` };
  }
  for (const api of ['v3', 'v2'] as const) {
    const elsewhere = sights[other(api)];
    if (sights[api].kind !== 'config') continue;
    if (elsewhere.kind === 'failed' && patient) {
      return { kind: 'wait', why: messageOf(elsewhere.error) };
    }
    const reason = elsewhere.kind === 'absent' ? `not in ${other(api)}` : `${other(api)} can't be read`;
    return { kind: 'use', api, why: `the network config ${keyOf(api, place)} is there, ${reason}` };
  }
  if (v3.kind === 'failed') return { kind: 'wait', why: messageOf(v3.error) };
  if (v2.kind === 'failed') return { kind: 'wait', why: messageOf(v2.error) };
  if (v3.kind === 'unsupported' && v2.kind === 'unsupported')
    return { kind: 'wait', why: messageOf(v3.error) };
  const api = v3.kind === 'unsupported' ? 'v2' : 'v3';
  return { kind: 'wait', why: missing(api, v3.kind === v2.kind ? 'v2 and v3' : api, place) };
}

/** What to log on a host that was given one API and found no config in it; `elsewhere` is the other API's sight. */
export function explainWait(api: EtcdApi, sight: Sight, elsewhere: Sight | undefined, place: Place): string {
  if (sight.kind === 'failed' || sight.kind === 'unsupported') return messageOf(sight.error);
  if (elsewhere?.kind !== 'config') return missing(api, api, place);
  const [here, there] = [api, other(api)];
  return (
    `the network config ${keyOf(there, place)} is in etcd's ${there} store, and --etcd-api=${here} looks in the ` +
    `${here} store; start with --etcd-api=${there}, or copy it: ` +
    `${etcdctl(here, place)} "$(${etcdctlGet(there, place)})"`
  );
}

function missing(api: EtcdApi, looked: string, place: Place): string {
  return (
    `waiting for the network config: there is no key ${keyOf(api, place)} in etcd (looked at ${looked}); put it there: ` +
    `${etcdctl(api, place)} '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'`
  );
}

/** v2 has no keys without a leading slash; v3 has, and keeps them apart. */
const keyOf = (api: EtcdApi, { prefix }: Place): string =>
  api === 'v2' ? posix.join('/', prefix, 'config') : posix.join(prefix, 'config');

const etcdctl = (api: EtcdApi, place: Place): string =>
  `ETCDCTL_API=${api.slice(1)} etcdctl --endpoints=${place.endpoints} ${api === 'v2' ? 'set' : 'put'} ${keyOf(api, place)}`;

const etcdctlGet = (api: EtcdApi, place: Place): string =>
  `ETCDCTL_API=${api.slice(1)} etcdctl --endpoints=${place.endpoints} get ${api === 'v2' ? '' : '--print-value-only '}${keyOf(api, place)}`;

const count = (leases: number): string =>
  leases === 1 ? '1 lease' : `${leases === 0 ? 'no' : leases} leases`;
