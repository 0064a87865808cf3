import { type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { messageOf } from '#src/lib/errors.ts';
import { silentLogger } from '#src/lib/log.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdV2Registry } from '#src/registry/etcd-v2.ts';
import { TLS_NOT_SPOKEN } from '#src/registry/failure.ts';
import { leasesUnder } from '#src/registry/ipv6-leases.ts';
import { etcdOptions, type OpenRegistryOptions } from '#src/registry/open-registry.ts';
import type { LeaseRecord, Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { AskHttp, HttpOutcome } from '#src/sys/http-question.ts';
import type { Random } from '#src/sys/random.ts';
import { runningClock, runningDeadlineIn } from '#src/sys/timer.ts';

/** What one etcd server says of itself over plain HTTP. */
export interface EndpointSeen {
  readonly url: string;
  /** Why it can't be asked; absent when it answers. */
  readonly why?: string;
  readonly healthy?: boolean;
  /** etcd's own words: `ALARM NOSPACE`, `RAFT NO LEADER`. etcd 3.4 says nothing. */
  readonly reason?: string;
  /** How far its clock is ahead of ours, in milliseconds. */
  readonly aheadMs?: number;
}

/** What was read through one of etcd's APIs. */
export type StoreSeen =
  | { readonly kind: 'read'; readonly config: string | undefined; readonly records: readonly LeaseRecord[] }
  | { readonly kind: 'failed'; readonly reason: RegistryError['reason'] | 'other'; readonly why: string };

export interface RegistrySeen {
  readonly endpoints: readonly EndpointSeen[];
  /** Through both APIs, whatever the flags say. */
  readonly stores: { readonly v2: StoreSeen; readonly v3: StoreSeen };
  /** The flags: `--etcd-api`. */
  readonly api: 'auto' | 'v2' | 'v3';
  /** Milliseconds until this host's own lease ends; absent for a reservation, or where it was not found. */
  readonly ownRemainingMs?: number;
}

export interface RegistryComponents {
  readonly clock: Clock;
  readonly files: Files;
  readonly random: Random;
  readonly ask: AskHttp;
}

/** Nothing of a diagnosis waits longer for etcd. Most answers take some milliseconds, and gRPC's first some hundred. */
const DEADLINE_MS = 2_500;
/**
 * etcd says its version from memory, at once. It may wait for one TCP handshake that is sent again, which is after a second
 * (RFC 6298 §2).
 */
const VERSION_MS = 1_300;

/**
 * Asks every endpoint, and reads config and leases. Nothing is written. Where every endpoint is silent nothing more is waited
 * for: a server that answers one of them has the whole time for its leases.
 */
export async function readRegistry(
  components: RegistryComponents,
  options: OpenRegistryOptions,
  ownName: string | undefined,
  signal: AbortSignal,
): Promise<Fact<RegistrySeen>> {
  let etcd: EtcdOptions;
  try {
    etcd = { ...(await etcdOptions(components, options)), callTimeoutMs: DEADLINE_MS - 100 };
  } catch (error) {
    return unknownFact(messageOf(error));
  }
  // Before anything is asked: loading holds this process up, and the servers would seem to be silent.
  await loadEtcdV3();
  const hopeless = new AbortController();
  const asking = Promise.all(etcd.endpoints.map(({ url }) => askEndpoint(components, etcd, url))).then(
    (all) => {
      if (all.every(({ why }) => why === SILENT)) hopeless.abort(SILENT);
      return all;
    },
  );
  const either = AbortSignal.any([signal, hopeless.signal]);
  const [endpoints, v2, v3] = await Promise.all([
    asking,
    readStore(components, etcd, 'v2', ownName, either),
    readStore(components, etcd, 'v3', ownName, either),
  ]);
  signal.throwIfAborted();
  const remaining = v3.ownRemainingMs ?? v2.ownRemainingMs;
  return knownFact({
    endpoints,
    stores: { v2: v2.store, v3: v3.store },
    api: options.api,
    ...(remaining !== undefined && { ownRemainingMs: remaining }),
  });
}

const SILENT = 'no answer';
const loadEtcdV3 = () => import('#src/registry/etcd-v3.ts');

async function askEndpoint(
  { clock, ask }: RegistryComponents,
  { tls }: EtcdOptions,
  url: string,
): Promise<EndpointSeen> {
  const agent = url.startsWith('https:') ? await agentFor(tls) : undefined;
  const from = clock.now();
  const ended = new AbortController();
  const question = { timeoutMs: DEADLINE_MS, signal: ended.signal, ...(agent && { agent }) };
  // A server without a leader is slow to say that it is not healthy, and says its version at once.
  const health = ask({ ...question, url: `${url}/health` });
  const version = await ask({ ...question, timeoutMs: VERSION_MS, url: `${url}/version` });
  if (version.kind !== 'answer') {
    ended.abort(SILENT);
    return { url, why: await whyNoAnswer(ask, tls, url, version) };
  }
  const middle = (from + clock.now()) / 2;
  // The header has whole seconds: it was written half a second later, by the average.
  const aheadMs = version.date === undefined ? undefined : version.date + 500 - middle;
  const answer = await health;
  const seen = answer.kind === 'answer' ? healthIn(answer.body) : { healthy: false };
  const alarms =
    seen.healthy === false && seen.reason === undefined
      ? await ask({ ...question, url: `${url}/v3/maintenance/alarm`, body: '{"action":"GET"}' })
      : undefined;
  const alarm = alarms?.kind === 'answer' ? /"alarm":\s*"(\w+)"/.exec(alarms.body)?.[1] : undefined;
  return {
    ...{ url, ...seen },
    ...(alarm !== undefined && { reason: `ALARM ${alarm}` }),
    ...(aheadMs !== undefined && { aheadMs }),
  };
}

/**
 * A server without TLS closes the connection of a client that begins with it, and the other way round. The client sees an end or
 * a reset: only a question in the other way shows which of the two it is.
 */
async function whyNoAnswer(
  ask: AskHttp,
  tls: EtcdOptions['tls'],
  url: string,
  outcome: Exclude<HttpOutcome, { kind: 'answer' }>,
): Promise<string> {
  if (outcome.kind === 'refused') return 'connection refused';
  if (outcome.kind === 'silent') return SILENT;
  if (url.startsWith('https:')) {
    const plain = await ask({ timeoutMs: VERSION_MS, url: `${url.replace('https:', 'http:')}/version` });
    return plain.kind === 'answer' && plain.status === 200 ? TLS_NOT_SPOKEN : outcome.why;
  }
  const agent = await agentFor(tls);
  const secure = await ask({
    timeoutMs: VERSION_MS,
    url: `${url.replace('http:', 'https:')}/version`,
    agent,
  });
  const speaksTls =
    secure.kind === 'answer' || (secure.kind === 'failed' && /certificate|alert/i.test(secure.why));
  return speaksTls ? TLS_WANTED : outcome.why;
}

const agentFor = async (tls: EtcdOptions['tls']) =>
  (await import('#src/registry/secure-agent.ts')).secureAgent(tls, { keepAlive: false });

const TLS_WANTED = 'TLS: the server answers with TLS alone; its address may be https, not http';

/** `{"health":"false","reason":"RAFT NO LEADER"}`; version 2 writes `"true"` as well. */
export function healthIn(body: string): Pick<EndpointSeen, 'healthy' | 'reason'> {
  try {
    const { health, reason } = JSON.parse(body) as { health?: unknown; reason?: unknown };
    return {
      healthy: health === 'true' || health === true,
      ...(typeof reason === 'string' && reason !== '' && { reason }),
    };
  } catch {
    return {};
  }
}

async function readStore(
  components: RegistryComponents,
  etcd: EtcdOptions,
  api: 'v2' | 'v3',
  ownName: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly store: StoreSeen; readonly ownRemainingMs?: number }> {
  const deadline = runningDeadlineIn(DEADLINE_MS, signal);
  let registry: Registry | undefined;
  try {
    registry = await open(components, etcd, api);
    const config = await registry.readConfig(deadline);
    const leases = leasesUnder(registry, config);
    const { records } = await leases.list(deadline);
    const own = records.find(({ name }) => name === ownName);
    const end = own && (await leases.expiryOf(own, deadline));
    return {
      store: { kind: 'read', config, records },
      ...(end !== undefined && { ownRemainingMs: end - components.clock.now() }),
    };
  } catch (error) {
    const reason = error instanceof RegistryError ? error.reason : deadline.aborted ? 'timeout' : 'other';
    const why = deadline.aborted
      ? 'no answer in time'
      : error instanceof Error
        ? error.message
        : String(error);
    return { store: { kind: 'failed', reason, why } };
  } finally {
    await registry?.close();
  }
}

async function open(components: RegistryComponents, etcd: EtcdOptions, api: 'v2' | 'v3'): Promise<Registry> {
  const parts = { ...components, clock: runningClock(components.clock), logger: silentLogger };
  if (api === 'v2') return new EtcdV2Registry(parts, etcd);
  const { EtcdV3Registry } = await loadEtcdV3();
  return new EtcdV3Registry(parts, etcd);
}

export type StoreRead = Extract<StoreSeen, { kind: 'read' }>;

/**
 * The store with the network's config that the flags allow, as flanneld chooses it, or one without where none has a config;
 * `undefined` where one that may have it could not be read.
 */
export function storeInUse({ stores, api }: RegistrySeen): StoreRead | undefined {
  const allowed = (api === 'auto' ? (['v3', 'v2'] as const) : [api]).map((name) => stores[name]);
  const read = allowed.filter((store) => store.kind === 'read');
  const withConfig = read.filter(({ config }) => config !== undefined);
  // As registry/choose-api.ts: the older one only where it alone has leases.
  const chosen = withConfig.find(({ records }) => records.length > 0) ?? withConfig[0];
  const isComplete = allowed.every((store) => store.kind === 'read' || store.reason === 'protocol');
  return chosen ?? (isComplete ? read[0] : undefined);
}
