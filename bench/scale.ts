import { setTimeout as delay } from 'node:timers/promises';
import { type Bench, type Benchmark, Sheet } from './benchmark.ts';
import { Agents, availableMegabytes } from './scale/agents.ts';
import type { Put } from './scale/load-commands.ts';
import { type Reading, ScaleRig } from './scale/scale-rig.ts';
import { figure, quantile } from './statistics.ts';

const DAY = 86_400;
const HOUR = 3_600;
const SIZES = [1_000, 5_000, 10_000, 50_000] as const;
/** Beside the steps: what else may make a difference, at one of the steps. */
const VARIED = 10_000;
const SHARED_CONNECTIONS = 8;
const OFTEN_MS = 3_000;
/** Files that a process of the measured machine may have open, less some. */
const MOST_CONNECTIONS = 15_000;

const SETTLE_MS = 5_000;
const REST_MS = 20_000;
const PUTS = 20;
const PUT_PAUSE_MS = 250;
const JOINS = 20;
/** At the most; fewer where all hosts together would hear more than {@link MOST_HEARD} events. */
const LEAVERS = 1_000;
const MOST_HEARD = 10_000_000;
const CALIBRATION_MS = 9_000;
const RACK_TTL = 60;
/** To write leases again takes about as long as it took to remove them, and the first of them is not to end meanwhile. */
const REFILL = 1.5;

interface Variant {
  readonly name: string;
  readonly hosts: number;
  readonly ttl: number;
  /** Of a record; 0 for as it is. */
  readonly bytes: number;
  /** 0: one connection for each host. */
  readonly shared: number;
  readonly proxy: boolean;
  readonly agents: boolean;
  /** No played host watches. */
  readonly silent: boolean;
  /** Each watch asks each 3 s, as flanneld did before. */
  readonly asksOften: boolean;
}

const variant = (hosts: number, more: string, fields: Partial<Variant> = {}): Variant => ({
  name: `${hosts.toLocaleString('en')} hosts${more}`,
  hosts,
  ttl: DAY,
  bytes: 0,
  shared: SHARED_CONNECTIONS,
  proxy: false,
  agents: true,
  silent: false,
  asksOften: false,
  ...fields,
});

function variantsOf(sizes: readonly number[]): Variant[] {
  const hosts = sizes.includes(VARIED) ? VARIED : (sizes.at(-1) ?? VARIED);
  const alone = { agents: false };
  return [
    ...sizes.filter((size) => size <= hosts).map((size) => variant(size, '')),
    variant(hosts, ', each watch asks each 3 s', { ...alone, asksOften: true }),
    variant(hosts, ', through a gRPC proxy', { ...alone, proxy: true }),
    ...sizes
      .filter((size) => size <= MOST_CONNECTIONS)
      .toReversed()
      .map((size) => variant(size, ', a connection each', { ...alone, shared: 0 })),
    variant(hosts, ', nobody watches', { ...alone, silent: true }),
    variant(hosts, ', records of 4 kB', { ...alone, bytes: 4_096 }),
    variant(hosts, ', TTL of 10 minutes', { ...alone, ttl: HOUR / 6 }),
    variant(hosts, ', TTL of an hour', { ...alone, ttl: HOUR }),
    variant(hosts, ', records of 1 kB', { ...alone, bytes: 1_024 }),
    // The steps that are most likely to be too much.
    ...sizes.filter((size) => size > hosts).map((size) => variant(size, '')),
  ];
}

/** What a network of many hosts is to etcd. */
export const scale: Benchmark = {
  name: 'scale',
  title: 'etcd under many hosts',
  method: `One etcd member, real agents, and one process that plays all other hosts: each holds a lease on an etcd lease of its own, watches the leases and the config, asks after a silence whether a watch lives (3 s, and 1 ms for each host where that is more, at most 30 s), and renews when flanneld does (an hour before the end of the lease, or half way). A process that plays has no kernel routes and decodes no leases. ${SHARED_CONNECTIONS} connections carry all played hosts, except where each has one of its own.

- *At rest*: ${REST_MS / 1_000} s with nothing but questions and renewals. Processor by the scheduler's count (schedstat), messages, fsyncs and memory by etcd's own /metrics. A *late* answer took more than 2 s: flanneld would go to another member.
- *A new host*: ${PUTS} leases, one by one. Milliseconds from sending until etcd answered, until the last played host had the event, and until the kernel of the last agent reported the route. Then ${JOINS} hosts at once with all that a start asks for: config, list, lease, both watches.
- *They leave*: ${LEAVERS} leases removed at once, or half of all, or as many as make ${MOST_HEARD / 1e6} million events for all hosts together; seconds until the last played host had heard it all, and until the routes of all agents were right.
- *A rack*: as many hosts die whose etcd leases end in the same second; seconds from the first event to the last.

All of it shares the machine's processors, and how busy these were otherwise is in the text.`,
  beside: [],
  plotted: [
    'etcd: processor for a host',
    'etcd: memory for the watches of a host',
    'until the last host heard it, p50',
    'until the last agent’s route, p50',
    'they leave: all agents are right',
  ],
  async run(bench) {
    const sheet = new Sheet();
    for (const one of variantsOf(bench.hosts.length > 0 ? bench.hosts : SIZES)) {
      // What was measured before an interruption is kept.
      if (bench.signal.aborted) break;
      // A step that etcd, or the machine, does not bear is a result as well, and the others are measured all the same.
      await measure(bench, one, sheet).catch((error: Error) => {
        bench.say(`${one.name}: failed: ${error.message}`);
        if (!bench.signal.aborted)
          sheet.add('it went through to its end', '', one.name, 0, undefined, 'rest');
      });
    }
    return sheet.rows;
  },
};

async function measure(bench: Bench, it: Variant, sheet: Sheet): Promise<void> {
  const [program] = bench.programs;
  if (program === undefined) return;
  const count = it.agents ? agentsFor(it.hosts, bench.agents) : 0;
  const say = (text: string): void => bench.say(`${it.name}: ${text}`);
  const add = (group: string, what: string, unit: string, value: number): void =>
    sheet.add(what, unit, it.name, value, undefined, group);
  await using rig = await ScaleRig.create({
    members: 1,
    agents: count,
    proxy: it.proxy,
    signal: bench.signal,
  });
  const { load } = rig;
  const played = it.hosts - count;
  // A proxy answers a transaction as well, but what is measured there is watching.
  await load.do({
    do: 'connect',
    members: rig.asked,
    shared: it.shared,
    hosts: it.hosts,
    ...(it.asksOften && { quietMs: OFTEN_MS }),
  });
  const filled = await load.fill({ from: 0, to: played, ttl: it.ttl, bytes: it.bytes });
  say(`${played} leases in ${(filled / 1_000).toFixed(1)} s`);
  const agents =
    count === 0
      ? undefined
      : await Agents.start(rig.agentHosts, program, rig.endpoints, [
          '--probes=false',
          `--lease-ttl=${it.ttl}s`,
        ]);
  try {
    await agents?.untilJoined(it.hosts - 1);
    say(`${count} agents are right, ${agents?.use().memory.toFixed(0) ?? 0} MB each`);
    const idle = await rig.read();
    if (agents !== undefined) {
      await delay(CALIBRATION_MS, undefined, { signal: bench.signal });
      const then = await rig.read();
      const messages = (then.messagesReceived - idle.messagesReceived) / agents.size;
      add('rest', 'messages from a real agent', '/s', (messages * 1_000) / (then.at - idle.at));
    }
    if (!it.silent) {
      const watching = await load.watch();
      say(`all watch after ${(watching / 1_000).toFixed(1)} s`);
      add('rest', 'all begin to watch', 's', watching / 1_000);
    }
    await load.do({ do: 'renew', every: renewalOf(it.ttl) });
    await delay(SETTLE_MS, undefined, { signal: bench.signal });
    await atRest({ rig, agents, idle, it, say, add });
    await newHosts({ rig, agents, it, played, say, add });
    if (it.agents) {
      const seconds = await leavers({ rig, agents, it, say, add });
      await rack({ rig, agents, it, say, add }, Math.max(RACK_TTL, Math.ceil(seconds * REFILL)));
    }
    if (agents !== undefined) add('rest', 'real agents', '', agents.size);
  } finally {
    await agents?.stop();
  }
}

interface Step {
  readonly rig: ScaleRig;
  readonly agents: Agents | undefined;
  readonly it: Variant;
  say(text: string): void;
  add(group: string, what: string, unit: string, value: number): void;
}

async function atRest({ rig, agents, idle, it, say, add }: Step & { readonly idle: Reading }): Promise<void> {
  const { load } = rig;
  const before = { etcd: await rig.read(), proxy: await rig.readProxy(), load: await load.counts() };
  const agentsBefore = agents?.use().processor ?? 0;
  await delay(REST_MS);
  const after = { etcd: await rig.read(), proxy: await rig.readProxy(), load: await load.counts() };
  const seconds = (after.etcd.at - before.etcd.at) / 1_000;
  const processor = (after.etcd.processor - before.etcd.processor) / seconds;
  const perHost = (value: number): number => value / it.hosts;
  add('rest', 'etcd: processor', '%', processor * 100);
  add('rest', 'etcd: processor for a host', 'µs/s', perHost(processor) * 1e6);
  const messages = (after.etcd.messagesReceived - before.etcd.messagesReceived) / seconds;
  add('rest', 'etcd: messages from hosts', '/s', messages);
  add('rest', 'messages from a host', '/s', perHost(messages));
  add('rest', 'etcd: fsyncs', '/s', (after.etcd.fsyncs - before.etcd.fsyncs) / seconds);
  add('rest', 'etcd: memory', 'MB', after.etcd.residentMegabytes);
  const grown = after.etcd.residentMegabytes - idle.residentMegabytes;
  if (!it.silent) add('rest', 'etcd: memory for the watches of a host', 'kB', perHost(grown) * 1_024);
  add('rest', 'etcd: database', 'MB', after.etcd.databaseMegabytes);
  const late = after.load.late - before.load.late;
  add('rest', 'answers later than 2 s', '', late);
  add('rest', 'the latest answer', 'ms', after.load.longestMs);
  const proxied = before.proxy && after.proxy ? after.proxy.processor - before.proxy.processor : undefined;
  if (proxied !== undefined) add('rest', 'proxy: processor', '%', (proxied / seconds) * 100);
  if (after.proxy !== undefined) add('rest', 'proxy: memory', 'MB', after.proxy.residentMegabytes);
  const played = (after.load.processor - before.load.processor) / seconds;
  const own = agents === undefined ? 0 : (agents.use().processor - agentsBefore) / seconds / agents.size;
  say(
    `etcd ${(processor * 100).toFixed(1)} %, ${figure(messages)} messages/s, ${after.etcd.residentMegabytes.toFixed(0)} MB, ${after.etcd.watchers} watchers, ${late} late, latest ${after.load.longestMs.toFixed(0)} ms; playing ${(played * 100).toFixed(0)} %, ${after.load.renewed - before.load.renewed} renewals, ${after.load.connections} connections, an agent ${(own * 100).toFixed(2)} %`,
  );
}

async function newHosts({
  rig,
  agents,
  it,
  played,
  say,
  add,
}: Step & { readonly played: number }): Promise<void> {
  const { load } = rig;
  const places = { from: played, to: played + PUTS };
  const before = await rig.read();
  let puts: Put[] = [];
  const send = async (): Promise<void> => {
    puts = await load.puts({ ...places, ttl: it.ttl, pauseMs: PUT_PAUSE_MS });
  };
  const arrivals = agents === undefined ? undefined : await agents.arrivals(places, send);
  if (agents === undefined) await send();
  const after = await rig.read();
  const p50 = (values: readonly number[]): number => quantile(values, 0.5);
  add('events', 'put answered, p50', 'ms', p50(puts.map(({ sent, answered }) => answered - sent)));
  const last = puts.map(({ sent, heard }) => heard - sent);
  if (!it.silent) add('events', 'until the last host heard it, p50', 'ms', p50(last));
  if (!it.silent) add('events', 'until the last host heard it, the worst', 'ms', Math.max(...last));
  if (arrivals !== undefined) {
    const routes = puts.map(({ n, sent }) => Math.max(...(arrivals.get(n) ?? [])) - sent);
    add('events', 'until the last agent’s route, p50', 'ms', p50(routes));
    say(`put to the last agent's route ${p50(routes).toFixed(1)} ms`);
  }
  // What etcd does at rest meanwhile is taken away by the same time at rest, roughly: it is a part of it.
  const milliseconds = ((after.processor - before.processor) / PUTS) * 1_000;
  add('events', 'etcd: processor for a new lease, questions meanwhile included', 'ms', milliseconds);
  say(
    `put answered ${p50(puts.map(({ sent, answered }) => answered - sent)).toFixed(1)} ms, heard ${p50(last).toFixed(1)} ms`,
  );
  if (it.silent) return;
  const reading = await rig.read();
  const from = played + PUTS;
  const joined = await load.join({ from, to: from + JOINS, ttl: it.ttl });
  const then = await rig.read();
  add('events', 'etcd: processor for a start', 'ms', ((then.processor - reading.processor) / JOINS) * 1_000);
  add('events', `${JOINS} starts`, 's', joined.ms / 1_000);
  say(`${JOINS} starts with ${joined.listed} leases in ${joined.ms.toFixed(0)} ms`);
  await load.do({ do: 'die', from, to: from + JOINS });
}

/** Returns the seconds until all hosts had heard it. */
async function leavers({ rig, agents, it, say, add }: Step): Promise<number> {
  const { load } = rig;
  const leaving = leaversOf(it.hosts);
  const before = await rig.read();
  const left = load.leave(0, leaving);
  const [put, right] = await Promise.all([left, agents?.untilRight(it.hosts - 1 + PUTS + JOINS - leaving)]);
  const after = await rig.read();
  add('events', 'hosts that leave at once', '', leaving);
  add('events', 'events to hosts', 'k/s', (leaving * it.hosts) / (put.heard - put.sent));
  add('events', 'they leave: answered', 's', (put.answered - put.sent) / 1_000);
  add('events', 'they leave: heard by all hosts', 's', (put.heard - put.sent) / 1_000);
  if (right !== undefined) add('events', 'they leave: all agents are right', 's', (right - put.sent) / 1_000);
  add('events', 'they leave: etcd’s processor', 's', after.processor - before.processor);
  say(
    `${leaving} left: answered ${((put.answered - put.sent) / 1_000).toFixed(2)} s, heard ${((put.heard - put.sent) / 1_000).toFixed(2)} s, agents right ${right === undefined ? '–' : ((right - put.sent) / 1_000).toFixed(2)} s`,
  );
  return (put.heard - put.sent) / 1_000;
}

async function rack({ rig, agents, it, say, add }: Step, ttl: number): Promise<void> {
  const { load } = rig;
  const leaving = leaversOf(it.hosts);
  // The same hosts come back with short leases, and die.
  await load.do({ do: 'die', from: 0, to: leaving });
  await load.fill({ from: 0, to: leaving, ttl, bytes: it.bytes });
  await load.do({ do: 'die', from: 0, to: leaving });
  const peers = it.hosts - 1 + PUTS + JOINS - leaving;
  const put = await load.expired(leaving);
  const right = await agents?.untilRight(peers);
  add('events', 'as large a rack dies: first to last event', 's', (put.heard - put.sent) / 1_000);
  if (right !== undefined)
    add('events', 'as large a rack dies: all agents are right', 's', (right - put.sent) / 1_000);
  say(
    `rack: ${((put.heard - put.sent) / 1_000).toFixed(2)} s from the first to the last event, agents right ${right === undefined ? '–' : ((right - put.sent) / 1_000).toFixed(2)} s`,
  );
}

const leaversOf = (hosts: number): number =>
  Math.min(LEAVERS, Math.floor(hosts / 2), Math.floor(MOST_HEARD / hosts));

/** As src/membership/lease-keeper.ts with the default margin. */
const renewalOf = (ttl: number): number => Math.max(ttl - HOUR, ttl / 2);

/** As many as asked for, and as half of the free memory takes: routes are in the kernel's memory. */
export function agentsFor(hosts: number, most: number): number {
  const megabytes = 60 + hosts * 0.0065;
  return Math.max(1, Math.min(most, Math.floor(availableMegabytes() / 2 / megabytes)));
}
