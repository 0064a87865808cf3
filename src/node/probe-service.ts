import type { OwnEnds } from '#src/backend/probe-ends.ts';
import type { Judgement } from '#src/diagnose/probes/judge.ts';
import { Prober } from '#src/diagnose/probes/prober.ts';
import {
  Responder,
  type ResponderHandler,
  type ResponderHandlers,
} from '#src/diagnose/responder/responder.ts';
import type { TraceHandlers } from '#src/diagnose/trace/trace-handlers.ts';
import { WeftError } from '#src/lib/errors.ts';
import { formatIp, formatPrefix, type Ip, type Ipv4 } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import { valuesOf } from '#src/lib/per-family.ts';
import { VERSION } from '#src/lib/version.ts';
import type { Lease } from '#src/network/lease.ts';
import type { LeaseChange } from '#src/network/lease-table.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { NetworkParts } from '#src/node/network-parts.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';
import type { MeasuringSockets } from '#src/sys/measuring-sockets.ts';

/**
 * Probes and responder of one network, for as long as it has a data path: both follow the intent in force and the accepted
 * leases.
 */
export class ProbeService {
  readonly #parts: NetworkParts;
  readonly #dataPath: DataPath;
  readonly #prober: Prober;
  readonly #responder: Responder;
  /** The addresses that the responder answers, by lease. */
  readonly #askers = new Map<string, Ipv4>();
  readonly #accepted = new Map<Ipv4, string>();
  #own: OwnEnds | undefined;
  #traces: Promise<TraceHandlers> | undefined;
  #watches = 0;

  constructor(parts: NetworkParts, dataPath: DataPath, sockets: MeasuringSockets) {
    const { host, options, createLogger } = parts;
    this.#parts = parts;
    this.#dataPath = dataPath;
    const log = createLogger('probes');
    const { clock, random } = host;
    this.#prober = new Prober(
      { ...sockets, clock, random, log },
      {
        budget: options.probeBudget,
        port: options.responderPort,
        onChange: (lease, judgement) => this.#say(lease, judgement),
      },
    );
    this.#responder = new Responder(
      { ...sockets, clock, log },
      {
        port: options.responderPort,
        accepts: (from) => this.#accepted.has(from),
        handlers: this.#handlers(),
        onTrouble: (trouble) => this.#sayListening(trouble),
      },
    );
  }

  /** Runs until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    const { probes, responderPort } = this.#parts.options;
    const stop = this.#dataPath.observe({
      onPeers: (changes) => this.#follow(changes),
      onIntent: () => this.#adopt(),
    });
    const life = new Lifetime(signal);
    try {
      this.#adopt();
      if (probes) life.run((ended) => this.#prober.run(ended));
      if (responderPort > 0) life.run((ended) => this.#responder.run(ended));
      await life.ended();
    } finally {
      stop();
      await life.stop();
    }
  }

  probeOf(lease: string): PeerProbe | undefined {
    return this.#prober.of(lease);
  }

  /** Absent where nothing is measured. */
  get counts(): ProbeCounts | undefined {
    return this.#parts.options.probes && this.#own !== undefined ? this.#prober.counts : undefined;
  }

  get troubles(): string[] {
    const { trouble } = this.#prober;
    return trouble === undefined ? [] : [trouble];
  }

  /** What the intent in force says of this host's ends. Peers are measured again only where these are others. */
  #adopt(): void {
    const { backend, subnets } = this.#dataPath.intent;
    const own = backend.probing?.ownEnds(subnets);
    if (keyOf(own) !== keyOf(this.#own)) {
      this.#own = own;
      this.#prober.use(own);
      this.#responder.use(own?.responder);
    }
    this.#askers.clear();
    this.#accepted.clear();
    for (const lease of this.#dataPath.table.leases()) this.#put(lease);
  }

  #follow(changes: readonly LeaseChange[]): void {
    for (const change of changes) {
      if (change.kind === 'accepted') this.#put(change.lease);
      else this.#remove(change.name);
    }
  }

  #put(lease: Lease): void {
    const ends = this.#dataPath.intent.backend.probing?.peerEnds(lease);
    if (ends === undefined) {
      this.#remove(lease.name);
      return;
    }
    this.#forgetAsker(lease.name);
    this.#askers.set(lease.name, ends.responder);
    this.#accepted.set(ends.responder, lease.name);
    if (this.#parts.options.probes) this.#prober.put(lease.name, ends);
  }

  #remove(name: string): void {
    this.#forgetAsker(name);
    this.#prober.remove(name);
  }

  /** An address may be another lease's by now. */
  #forgetAsker(name: string): void {
    const address = this.#askers.get(name);
    this.#askers.delete(name);
    if (address !== undefined && this.#accepted.get(address) === name) this.#accepted.delete(address);
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

  #say(lease: string, { state, findings }: Judgement): void {
    const { createLogger, events } = this.#parts;
    const log = createLogger('probes');
    const what = findings.length === 0 ? '' : `: ${findings.join('; ')}`;
    const text = state === 'up' ? `The peer ${lease} answers${what}` : `The peer ${lease} is ${state}${what}`;
    const severity = SEVERITIES[state];
    events.note({ type: 'probe', severity, subject: lease, text: text.replace(FIGURES, 'some packets') });
    if (state === 'up') log.info(text, { lease });
    else log.warning(text, { lease });
  }

  #sayListening(trouble: string | undefined): void {
    const text = trouble ?? 'the responder listens again';
    const severity = trouble === undefined ? 'info' : 'warning';
    this.#parts.events.note({ type: 'probe', severity, subject: 'responder', text });
  }
}

/** No watch for a packet takes longer. */
const WATCH_MS = 60_000;

const SEVERITIES = { up: 'info', degraded: 'warning', down: 'error' } as const;
/** An event's text has no figures that change with each packet. */
const FIGURES = /\d+ of the last \d+ packets/;

const keyOf = (own: OwnEnds | undefined): string => JSON.stringify(own) ?? '';
