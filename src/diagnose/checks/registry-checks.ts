import { type Check, type Finding, some } from '#src/diagnose/check.ts';
import { REGISTRY } from '#src/diagnose/checks/consequences.ts';
import { known, NoFact } from '#src/diagnose/facts/fact.ts';
import {
  type RegistrySeen,
  type StoreRead,
  type StoreSeen,
  storeInUse,
} from '#src/diagnose/facts/registry.ts';
import type { HostFacts } from '#src/diagnose/host-facts.ts';

const allowed = ({ stores, api }: RegistrySeen): StoreSeen[] =>
  api === 'auto' ? [stores.v3, stores.v2] : [stores[api]];

/** Every store that the flags allow fails so, or nothing was read and one does. */
function failedWith({ stores, api }: RegistrySeen, reasons: readonly string[]): string | undefined {
  const seen = allowed({ endpoints: [], stores, api });
  if (seen.some((store) => store.kind === 'read' && store.config !== undefined)) return undefined;
  const failed = seen.find((store) => store.kind === 'failed' && reasons.includes(store.reason));
  return failed?.kind === 'failed' ? failed.why : undefined;
}

/** Beyond this a difference of clocks matters: certificates, logs, the expiry that etcd v2 writes. */
const MOST_SKEW_MS = 10_000;

function skewText(aheadMs: number): string {
  const seconds = Math.round(Math.abs(aheadMs) / 1000);
  return `${seconds} s ${aheadMs > 0 ? 'ahead of' : 'behind'}`;
}

const down = ({ endpoints }: RegistrySeen): RegistrySeen['endpoints'] =>
  endpoints.filter(({ why }) => why !== undefined);

const isNoSpace = ({ endpoints }: RegistrySeen): boolean =>
  endpoints.some(({ reason }) => /NOSPACE/.test(reason ?? ''));

export const REGISTRY_CHECKS: readonly Check[] = [
  {
    id: 'registry-unreachable',
    title: 'the registry answers',
    why: 'Without the registry no host joins, none that leaves is noticed, and leases run out.',
    causes: ['registry-member', 'registry-no-leader', ...REGISTRY],
    look({ registry }) {
      const seen = known(registry);
      if (seen.endpoints.length === 0 || down(seen).length < seen.endpoints.length) return undefined;
      if (seen.endpoints.some(({ why }) => isTls(why))) return undefined;
      // A gateway may pass the requests of etcd's API alone.
      if (allowed(seen).some(({ kind }) => kind === 'read')) return undefined;
      return {
        what: `No endpoint of the registry answers: ${some(seen.endpoints.map(({ url, why }) => `${url}: ${why}`))}.`,
        remedy:
          'systemctl status etcd on these hosts; check --etcd-endpoints (http or https, host, port) and the firewall between',
      };
    },
  },
  {
    id: 'registry-tls',
    title: "the registry's certificates are accepted",
    why: 'Neither side talks to one whose certificate it does not accept.',
    causes: ['registry-unreachable', 'registry-member', ...REGISTRY],
    look({ registry }) {
      const seen = known(registry);
      const first = seen.endpoints.find(({ why }) => isTls(why));
      const why = first?.why ?? failedWith(seen, ['tls']);
      return why === undefined
        ? undefined
        : {
            what: `The registry can't be asked over TLS: ${first === undefined ? '' : `${first.url}: `}${why}.`,
            remedy:
              'check --etcd-cafile, --etcd-certfile and --etcd-keyfile, and http against https in --etcd-endpoints',
          };
    },
  },
  {
    id: 'registry-full',
    title: 'the registry takes writes (no NOSPACE alarm)',
    why: 'etcd refuses every write when its file has reached the quota: leases end although their hosts live.',
    causes: [...REGISTRY],
    look({ registry }) {
      const seen = known(registry);
      if (!isNoSpace(seen)) return undefined;
      const { url } = seen.endpoints[0] ?? { url: '' };
      return {
        what: 'The registry takes no writes: the alarm NOSPACE is raised, its file has reached the quota.',
        remedy: `ETCDCTL_API=3 etcdctl --endpoints=${url} compact REVISION, then defrag, then alarm disarm; raise --quota-backend-bytes`,
      };
    },
  },
  {
    id: 'registry-no-leader',
    title: 'the registry has a leader',
    why: 'Without a majority of its members etcd answers nothing that matters.',
    causes: ['registry-member', ...REGISTRY],
    look({ registry }) {
      const seen = known(registry);
      const sick = seen.endpoints.filter(({ healthy }) => healthy === false);
      const says = sick.some(({ reason }) => /NO LEADER/.test(reason ?? ''));
      if (sick.length === 0 || isNoSpace(seen) || (!says && storeInUse(seen) !== undefined)) return undefined;
      return {
        what: `The registry has no leader: ${some(sick.map(({ url, reason }) => `${url} says ${reason ?? 'that it is not healthy'}`))}.`,
        remedy: 'start its other members again: etcdctl endpoint status --cluster lists them',
      };
    },
  },
  {
    id: 'registry-member',
    title: 'every endpoint of the registry answers',
    why: 'The others do the work; one more that fails may stop it.',
    causes: [],
    look({ registry }) {
      const seen = known(registry);
      const missing = down(seen);
      if (missing.length === 0 || missing.length === seen.endpoints.length) return undefined;
      return {
        what: `An endpoint of the registry does not answer: ${some(missing.map(({ url, why }) => `${url}: ${why}`))}.`,
        remedy: 'systemctl status etcd on that host, or take it out of --etcd-endpoints',
      };
    },
  },
  {
    id: 'registry-auth',
    title: 'the registry accepts our user',
    why: 'etcd refuses reads and writes of a user without the right.',
    causes: [...REGISTRY],
    look({ registry }) {
      const why = failedWith(known(registry), ['unauthenticated', 'denied']);
      return why === undefined
        ? undefined
        : {
            what: `The registry refuses: ${why}.`,
            remedy:
              'check --etcd-username and --etcd-password; etcdctl role grant-permission ROLE readwrite --prefix=true PREFIX gives the right',
          };
    },
  },
  {
    id: 'registry-other-api',
    title: 'config and flags name the same API of etcd',
    why: "etcd keeps the keys of v2 and of v3 apart: a host that looks in one does not see the other's network.",
    causes: ['config-missing', 'lease-missing'],
    look({ registry, options }): Finding | undefined {
      const { stores, api } = known(registry);
      if (api === 'auto') return undefined;
      const other = api === 'v2' ? 'v3' : 'v2';
      const [own, elsewhere] = [stores[api], stores[other]];
      const isMissing = own.kind === 'failed' ? own.reason === 'protocol' : own.config === undefined;
      if (!isMissing || elsewhere.kind !== 'read' || elsewhere.config === undefined) return undefined;
      return {
        what: `The network config is in etcd's ${other} store, and --etcd-api=${api} looks in the ${api} store.`,
        remedy: `start flanneld with --etcd-api=${other}, or write ${options.registry.prefix}/config with ETCDCTL_API=${api.slice(1)} etcdctl`,
      };
    },
  },
  {
    id: 'config-missing',
    title: 'the registry has the network config',
    why: 'A host that starts waits for the config, and one that runs keeps what it had.',
    causes: ['lease-missing'],
    look({ registry, options }) {
      if (storeOf({ registry }).config !== undefined) return undefined;
      return {
        what: `The registry has no ${options.registry.prefix}/config.`,
        remedy: `etcdctl put ${options.registry.prefix}/config '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}'; check --etcd-prefix`,
      };
    },
  },
  {
    id: 'clock-skew',
    title: "the registry's clock and ours agree",
    why: 'Certificates, the expiry of leases in etcd v2 and logs of two hosts need the same time.',
    causes: [],
    look({ registry }) {
      const far = known(registry).endpoints.filter(({ aheadMs }) => Math.abs(aheadMs ?? 0) > MOST_SKEW_MS);
      return far.length === 0
        ? undefined
        : {
            what: `Clocks differ: ${some(far.map(({ url, aheadMs = 0 }) => `that of ${url} is ${skewText(aheadMs)} ours`))}.`,
            remedy: 'timedatectl set-ntp true on both hosts; chronyc tracking shows which of them is wrong',
          };
    },
  },
  {
    id: 'peer-clock-skew',
    title: "peers' clocks and ours agree",
    why: 'Logs of two hosts can not be compared, and certificates of one seem not yet valid to the other.',
    causes: [],
    look({ reach }) {
      const far = known(reach).filter(({ aheadMs }) => Math.abs(aheadMs ?? 0) > MOST_SKEW_MS);
      return far.length === 0
        ? undefined
        : {
            what: `Clocks differ: ${some(far.map(({ lease, aheadMs = 0 }) => `that of ${lease} is ${skewText(aheadMs)} ours`))}.`,
            remedy: 'timedatectl set-ntp true on both hosts; chronyc tracking shows which of them is wrong',
            leases: far.map(({ lease }) => lease),
          };
    },
  },
];

const isTls = (why: string | undefined): boolean => /certificate|SSL|TLS|EPROTO|alert/i.test(why ?? '');

/** The network's config and leases in the registry. Throws NoFact where they could not be read. */
export function storeOf(facts: Pick<HostFacts, 'registry'>): StoreRead {
  const seen = known(facts.registry);
  const store = storeInUse(seen);
  if (store !== undefined) return store;
  const failed = allowed(seen).find((it) => it.kind === 'failed');
  const why = failed?.kind === 'failed' ? failed.why : 'it has none';
  throw new NoFact({ kind: 'unknown', why: `the leases in the registry could not be read: ${why}` });
}
