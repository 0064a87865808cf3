import { joinCounts, joinProbes } from '#src/diagnose/probes/join-probes.ts';
import type { Judgement } from '#src/diagnose/probes/judge.ts';
import type { ResponderHandler, ResponderHandlers } from '#src/diagnose/responder/responder.ts';
import type { TraceHandlers } from '#src/diagnose/trace/trace-handlers.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Ip } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { familiesOf, valuesOf } from '#src/lib/per-family.ts';
import { VERSION } from '#src/lib/version.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';
import type { DataPath } from '#src/node/data-path.ts';
import { FamilyProbes } from '#src/node/family-probes.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';
import { inTurns } from '#src/sys/in-turns.ts';
import type { MeasuringSockets } from '#src/sys/measuring-sockets.ts';

/**
 * Probes and responders of one network, one of each for each of its families, for as long as it has a data path: they follow
 * the intent in force and the accepted leases.
 */
export class ProbeService {
  readonly #parts: NetworkParts;
  readonly #dataPath: DataPath;
  readonly #families: readonly FamilyProbes[];
  #traces: Promise<TraceHandlers> | undefined;
  #watches = 0;

  constructor(parts: NetworkParts, dataPath: DataPath, sockets: MeasuringSockets) {
    const { host, options, createLogger } = parts;
    this.#parts = parts;
    this.#dataPath = dataPath;
    const { clock, random } = host;
    const families = familiesOf(dataPath.intent.subnets);
    this.#families = families.map((family) => {
      const isSecond = family !== families[0];
      return new FamilyProbes(
        family,
        { sockets, clock, random, log: createLogger('probes') },
        {
          probes: options.probes,
          // A share for each: one that takes all that is there would leave the other nothing.
          budget: options.probeBudget / families.length,
          port: options.responderPort,
          handlers: this.#handlers(),
          onChange: (lease, judgement) => this.#say(lease, judgement, isSecond),
          onTrouble: (trouble) => this.#sayListening(trouble, isSecond),
        },
      );
    });
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const life = new Lifetime(signal);
    const adopt = () => life.run((ended) => this.#adopt(ended));
    const stop = this.#dataPath.observe({
      onPeers: (changes) => this.#follow(changes),
      onIntent: adopt,
    });
    try {
      adopt();
      for (const family of this.#families) family.run(life);
      await life.ended();
    } finally {
      stop();
      await life.stop();
    }
  }

  probeOf(lease: string): PeerProbe | undefined {
    const [first, second] = this.#families;
    return joinProbes(first?.prober.of(lease), second?.prober.of(lease));
  }

  /** Absent where nothing is measured. */
  get counts(): ProbeCounts | undefined {
    const [first, second] = this.#families.filter(({ isUsed }) => isUsed);
    if (!this.#parts.options.probes || first === undefined) return undefined;
    return second === undefined ? first.prober.counts : joinCounts(first.prober, second.prober);
  }

  get troubles(): string[] {
    return this.#families.flatMap(({ prober: { trouble } }, index) =>
      trouble === undefined ? [] : [index === 0 ? trouble : `IPv6: ${trouble}`],
    );
  }

  /** What the intent in force says of this host's ends, and all peers again, until there is another intent. */
  async #adopt(ended: AbortSignal): Promise<void> {
    const { intent, table } = this.#dataPath;
    for (const family of this.#families) family.adopt(intent.backend, intent.subnets);
    await inTurns(table.leases(), this.#parts.host.clock, (lease) => {
      if (ended.aborted || this.#dataPath.intent !== intent) return false;
      this.#put(lease);
      return true;
    });
  }

  #follow(changes: readonly LeaseChange[]): void {
    for (const change of changes) {
      if (change.kind === 'accepted') this.#put(change.lease);
      else for (const family of this.#families) family.remove(change.name);
    }
  }

  #put(lease: Lease): void {
    for (const family of this.#families) family.put(this.#dataPath.intent.backend, lease);
  }

  #handlers(): ResponderHandlers {
    return {
      'GET /v1/hello': () => {
        const { underlay, subnets, backend } = this.#dataPath.intent;
        return {
          version: VERSION,
          node: this.#parts.host.identity,
          publicIp: valuesOf<Ip, Ip>(underlay.publicIp).map(formatIp)[0],
          subnet: valuesOf(subnets).map(formatPrefix)[0],
          backend: backend.type,
          shared: backend.shared,
        };
      },
      'POST /v1/trace': (...request) => this.#trace('POST /v1/trace', request),
      'POST /v1/watch': (...request) => this.#trace('POST /v1/watch', request),
      'POST /v1/find': (...request) => this.#trace('POST /v1/find', request),
    };
  }

  /** Loaded with the first trace of a peer. */
  async #trace(path: keyof TraceHandlers, request: Parameters<ResponderHandler>): Promise<unknown> {
    const { host, artefacts } = this.#parts;
    this.#traces ??= host.traces?.(artefacts);
    const handlers = await this.#traces;
    if (handlers === undefined) throw new WeftError('trace-request', 'no traces are answered here');
    const answer = (): Promise<unknown> => handlers[path](...request);
    if (path !== 'POST /v1/watch') return answer();
    const { fastPath } = this.#dataPath;
    const by = `trace ${++this.#watches}`;
    const pause = (ms: number) => fastPath?.pause(by, 'weft trace of a peer sees all packets', ms);
    await pause(WATCH_MS);
    return answer().finally(() => pause(0));
  }

  /** `isSecond`: of IPv6, where the network has IPv4 as well. */
  #say(lease: string, { state, findings }: Judgement, isSecond: boolean): void {
    const { createLogger, events } = this.#parts;
    const log = createLogger('probes');
    const what = `${isSecond ? ' over IPv6' : ''}${findings.length === 0 ? '' : `: ${findings.join('; ')}`}`;
    const text = state === 'up' ? `The peer ${lease} answers${what}` : `The peer ${lease} is ${state}${what}`;
    const severity = SEVERITIES[state];
    events.note({ type: 'probe', severity, subject: lease, text: text.replace(FIGURES, 'some packets') });
    if (state === 'up') log.info(text, { lease });
    else log.warning(text, { lease });
  }

  #sayListening(trouble: string | undefined, isSecond: boolean): void {
    const text = trouble ?? 'the responder listens again';
    const severity = trouble === undefined ? 'info' : 'warning';
    const subject = isSecond ? 'responder IPv6' : 'responder';
    this.#parts.events.note({ type: 'probe', severity, subject, text });
  }
}

/** No watch for a packet takes longer. */
const WATCH_MS = 60_000;

const SEVERITIES = { up: 'info', degraded: 'warning', down: 'error' } as const;
/** An event's text has no figures that change with each packet. */
const FIGURES = /\d+ of the last \d+ packets/;
