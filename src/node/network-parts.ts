import type { HostEvents } from '#src/lib/host-events.ts';
import type { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger, LoggerSource } from '#src/lib/log.ts';
import { Memory } from '#src/membership/remembered.ts';
import { DataPath } from '#src/node/data-path.ts';
import { NetworkFastPath } from '#src/node/fast-path/network-fast-path.ts';
import { FirewallNames } from '#src/node/firewall-names.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { IntentMaker } from '#src/node/intent-maker.ts';
import { jobHandlers } from '#src/node/jobs/handlers.ts';
import { Preparation } from '#src/node/jobs/preparation.ts';
import type { NetworkHost } from '#src/node/network-host.ts';
import { artefactsOf, type NetworkArtefacts, type NetworkId } from '#src/node/network-id.ts';
import type { NetworkIntent, PreviousNetwork } from '#src/node/network-intent.ts';
import { type KeyRotation, keyRotation, rotatedSecrets } from '#src/node/network-keys.ts';
import { dataPathOptions, makerOptions, ruleCheckMs } from '#src/node/network-options.ts';
import { NetworkRules } from '#src/node/network-rules.ts';
import { NetworkSeal } from '#src/node/network-seal.ts';
import { NetworkTrust } from '#src/node/network-trust.ts';

/** What every step of one network's life needs. Made once for a network, and without any effect on the host. */
export interface NetworkParts {
  readonly id: NetworkId;
  readonly artefacts: NetworkArtefacts;
  readonly options: FlanneldOptions;
  readonly host: NetworkHost;
  readonly createLogger: LoggerSource;
  readonly log: Logger;
  readonly events: HostEvents;
  readonly maker: IntentMaker;
  readonly names: FirewallNames;
  readonly memory: Memory;
  readonly rotation: KeyRotation;
  /** To be opened before a data path is made. */
  readonly trust: NetworkTrust;
}

export function networkParts(host: NetworkHost, id: NetworkId, options: FlanneldOptions): NetworkParts {
  const artefacts = artefactsOf(id, options);
  const createLogger = titled(host.createLogger, artefacts.title);
  const log = createLogger('network');
  const events = host.eventsOf(id.name);
  const rotation = keyRotation(host, { log: createLogger('rotation'), events: events }, options);
  const secrets = rotatedSecrets(host, rotation);
  return {
    id,
    artefacts,
    options,
    host,
    createLogger,
    log,
    events,
    maker: new IntentMaker(
      { ...host, secrets, preparation: new Preparation({ ...host, log }), log },
      makerOptions(id, artefacts, options, host.identity),
    ),
    names: new FirewallNames(host, { isNamed: id.name !== undefined }),
    memory: new Memory({ files: host.files, log }, artefacts.stateFile),
    rotation,
    trust: new NetworkTrust({ ...host, log: createLogger('trust'), events }, options, id, artefacts),
  };
}

/** The data path of a network, for as long as `life` lasts. Nothing is done on the host before its first apply. */
export function makeDataPath(
  { id, artefacts, options, host, createLogger, events, rotation, trust }: NetworkParts,
  { intent, previous }: { readonly intent: NetworkIntent; readonly previous: PreviousNetwork },
  life: Lifetime,
): DataPath {
  const { makeFirewall, keepTable, watchDrops, clock, observeRules, isWriter } = host;
  const log = createLogger('jobs');
  const rules = new NetworkRules(
    { makeFirewall, watchDrops, clock, log: createLogger('firewall'), events, isWriter },
    { intervalMs: ruleCheckMs(options) },
  );
  const seal = new NetworkSeal((wanted) =>
    keepTable({ ...wanted, intervalMs: ruleCheckMs(options) }, { log: createLogger('firewall'), events }),
  );
  const fastPath =
    host.fastPath &&
    new NetworkFastPath(
      { ...host, ...host.fastPath, log: createLogger('fast-path') },
      { name: id.prefix, flag: options.fastPath },
    );
  const stop = observeRules((event) => rules.notice(event));
  life.signal.addEventListener('abort', stop, { once: true });
  return new DataPath(
    {
      ...host,
      createLogger,
      rules,
      seal,
      rotation,
      events,
      trust,
      fastPath,
      jobHandlers: jobHandlers({
        ...host,
        log,
        recordPath: (key) => artefacts.stateFile.replace(/json$/, `${key}.pid`),
      }),
    },
    intent,
    { ...dataPathOptions(options), name: id.prefix, subnetFile: artefacts.subnetFile, previous },
    life,
  );
}

/** Messages of a network with a name begin with it. */
function titled(source: LoggerSource, title: string): LoggerSource {
  if (title === '') return source;
  return (component) => {
    const log = source(component);
    return {
      info: (message, fields) => log.info(`${title}: ${message}`, fields),
      warning: (message, fields) => log.warning(`${title}: ${message}`, fields),
      error: (message, fields) => log.error(`${title}: ${message}`, fields),
      verbose: (level, message, fields) => log.verbose(level, `${title}: ${message}`, fields),
    };
  };
}
