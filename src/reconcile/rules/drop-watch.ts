import { askDocker, type DockerEngine } from '#src/docker/docker-engine.ts';
import { parseNftTable } from '#src/firewall/nft-listing.ts';
import { FAMILIES, type Family, type WantedRules } from '#src/firewall/rules.ts';
import { type Finding, type SeenRules, whatDrops } from '#src/firewall/what-drops.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Cared } from '#src/reconcile/caretaker.ts';
import {
  type FirewallHost,
  hasLegacyTables,
  IPTABLES_TABLES,
  type Programs,
  readRules,
  saveCommand,
  savedIn,
  toItsEnd,
} from '#src/reconcile/rules/programs.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { UnixHttp } from '#src/sys/unix-http.ts';

export interface DropWatchComponents extends FirewallHost {
  readonly clock: Clock;
  readonly log: Logger;
  readonly http: UnixHttp;
  readonly programs: (signal?: AbortSignal) => Promise<Programs>;
}

export interface DropWatchQuestions {
  readonly wanted: () => WantedRules;
  /** The device that has the address of our subnet; docker0 when there is none. */
  readonly bridge: () => Promise<string | undefined>;
}

type Place = SeenRules['nftables'][number];

/**
 * Watches for what drops the overlay's packets although our own rules are as wanted: Docker's nftables back end without the
 * options that it needs, firewalld, an administrator's rules. It mends nothing; a {@link Caretaker} says when to look.
 */
export class DropWatch implements Cared {
  readonly name = 'watch for what drops packets';
  readonly #components: DropWatchComponents;
  readonly #questions: DropWatchQuestions;
  #findings: readonly Finding[] = [];
  /** The kernel's count of transactions, and what was wanted, when nothing more could be found. */
  #lookedAt: string | undefined;
  #engine: DockerEngine | undefined;
  #asked: { readonly at: number; readonly pid: string | undefined } | undefined;

  constructor(components: DropWatchComponents, questions: DropWatchQuestions) {
    this.#components = components;
    this.#questions = questions;
  }

  /** What drops the overlay's packets, one clause each. */
  get troubles(): string[] {
    return this.#findings.map(textOf);
  }

  /** The engine of this host, when it last answered. */
  get engine(): DockerEngine | undefined {
    return this.#engine;
  }

  /** Looks; what is found is in {@link troubles}. Always `undefined`: nothing is mended. */
  async ensure(signal: AbortSignal): Promise<undefined> {
    try {
      await this.#askEngine(signal);
      await this.#look(signal);
    } catch (error) {
      if (isAbort(error)) throw error;
      this.#components.log.verbose(1, `Could not look for what drops packets: ${messageOf(error)}`);
    }
    return undefined;
  }

  async #look(signal: AbortSignal): Promise<void> {
    const { clock } = this.#components;
    const wanted = this.#questions.wanted();
    const moment = await this.#moment(wanted);
    if (moment !== undefined && moment === this.#lookedAt) return;
    const found = await this.#find(wanted, signal);
    const known = new Set(this.troubles);
    const isNews = found.some((finding) => !known.has(textOf(finding)));
    if (!isNews) {
      this.#lookedAt = moment;
      return this.#use(found);
    }
    // Docker and our own repairs are several transactions: what is found once may be the middle of a change.
    await clock.sleep(CONFIRM_MS, signal);
    const again = new Set((await this.#find(wanted, signal)).map(textOf));
    this.#lookedAt = undefined;
    this.#use(found.filter((finding) => again.has(textOf(finding))));
  }

  #use(findings: readonly Finding[]): void {
    const { log } = this.#components;
    const [before, after] = [this.troubles, findings.map(textOf)];
    for (const text of after) if (!before.includes(text)) log.warning(upperCase(text));
    for (const text of before) if (!after.includes(text)) log.info(`No longer so: ${text}`);
    this.#findings = findings;
  }

  /** Another text whenever there may be something else to find; `undefined` when the kernel reports nothing. */
  async #moment(wanted: WantedRules): Promise<string | undefined> {
    const generation = await this.#components.ruleset?.generation();
    if (generation === undefined) return undefined;
    const legacy = await Promise.all(FAMILIES.map((family) => hasLegacyTables(this.#components, family)));
    const text = JSON.stringify(wanted, (_, value) => (typeof value === 'bigint' ? `${value}n` : value));
    return legacy.includes(true) ? undefined : `${generation} ${text}`;
  }

  async #find(wanted: WantedRules, signal: AbortSignal): Promise<Finding[]> {
    const programs = await this.#components.programs(signal);
    const [iptables, nftables, bridge] = await Promise.all([
      this.#readIptables(programs, wanted, signal),
      this.#readNftables(programs, signal),
      this.#questions.bridge(),
    ]);
    return whatDrops({ iptables, nftables }, wanted, bridge === undefined ? {} : { bridge });
  }

  async #readIptables(
    { iptables }: Programs,
    wanted: WantedRules,
    signal: AbortSignal,
  ): Promise<SeenRules['iptables']> {
    const families = FAMILIES.filter((family) => (family === 4 ? wanted.v4 : wanted.v6) !== undefined);
    const reads = families.flatMap((family) =>
      iptables.map(async (kind) => {
        const save = saveCommand(kind, family);
        const result = toItsEnd(READ, save, await readRules(this.#components, kind, family, signal));
        const program = save[0].replace(/-save$/, '');
        return result.code === 0 ? [{ program, family, saved: savedIn(result) }] : [];
      }),
    );
    return (await Promise.all(reads)).flat();
  }

  async #readNftables({ nft }: Programs, signal: AbortSignal): Promise<Place[]> {
    const { commands, ruleset } = this.#components;
    const places: Place[] = [];
    for (const family of [...FAMILIES, 'inet'] as const) {
      for (const name of (await ruleset?.tables(family)) ?? []) {
        if (isKnown(name, family) || (await nft()) === undefined) continue;
        const word = NFT_FAMILIES[family];
        const list = ['nft', '-j', 'list', 'table', word, name] as const;
        const { code, stdout } = toItsEnd(READ, list, await commands.run(list, { signal }));
        // A table may be gone since it was listed.
        if (code === 0) places.push({ family: word, name, table: parseNftTable(stdout) });
      }
    }
    return places;
  }

  /** Asks again when another dockerd runs, or after a while. */
  async #askEngine(signal: AbortSignal): Promise<void> {
    const { clock, files, http, log } = this.#components;
    const now = clock.monotonic();
    const pid = await files?.read(DOCKER_PID).catch(() => undefined);
    if (this.#asked !== undefined && this.#asked.pid === pid && now - this.#asked.at < ASK_AGAIN_MS) return;
    const engine = await askDocker({ http }, signal);
    // A dockerd that has just begun does not answer yet.
    this.#asked = engine === undefined && pid !== undefined ? undefined : { at: now, pid };
    if (engine === undefined) return;
    const text = describe(engine);
    if (this.#engine === undefined || describe(this.#engine) !== text) log.info(text);
    this.#engine = engine;
  }
}

const READ = 'could not read the rules';
/** What is ours, and what iptables-nft's save shows. */
const isKnown = (name: string, family: Family | 'inet'): boolean =>
  family !== 'inet' && (IPTABLES_TABLES.includes(name) || /^flannel-ipv[46]\b/.test(name));

const NFT_FAMILIES = { 4: 'ip', 6: 'ip6', inet: 'inet' } as const;

const textOf = ({ what, remedy }: Finding): string => `${what}; ${remedy}`;
const upperCase = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

function describe({ version, apiVersion, firewall, firewalld, liveRestore, rootless }: DockerEngine): string {
  const ways = [
    `rules in ${firewall}${firewalld ? ' by firewalld' : ''}`,
    ...(liveRestore ? ['live-restore'] : []),
    ...(rootless ? ['rootless: its containers are not on this host’s network'] : []),
  ];
  return `Docker ${version} (API ${apiVersion}) runs on this host: ${ways.join(', ')}`;
}

/** dockerd's own, unless `--pidfile` says otherwise: then the engine is asked again after a while. */
const DOCKER_PID = '/run/docker.pid';
const ASK_AGAIN_MS = 60_000;
/** Docker makes a network's rules within some tens of milliseconds; our own repair takes less than a second. */
const CONFIRM_MS = 1_000;
