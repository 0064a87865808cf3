import {
  type ChangeWish,
  isWish,
  type JudgedChange,
  judgeChange,
  wishedBackend,
} from '#src/backend/change-wish.ts';
import { askRegistry } from '#src/cli/ask-registry.ts';
import { formatTable } from '#src/cli/format-table.ts';
import { describeProgress, leadChange } from '#src/cli/lead-change.ts';
import type { RegistryCommandContext } from '#src/cli/registry-command.ts';
import type { Output } from '#src/cli/terminal.ts';
import { WeftError } from '#src/lib/errors.ts';
import {
  backendText,
  type ChangePlan,
  otherText,
  underWay,
  withPhase,
  withPlan,
} from '#src/network/change-plan.ts';
import { hostsOf, type LeaseText, progressOf } from '#src/network/change-progress.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { registryOptions } from '#src/node/registry-options.ts';
import { leasesUnder } from '#src/registry/ipv6-leases.ts';
import { openRegistry } from '#src/registry/open-registry.ts';
import type { Registry } from '#src/registry/registry.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemRandom } from '#src/sys/random.ts';
import { patience } from '#src/sys/until.ts';

export interface ChangeRequest {
  readonly wish: ChangeWish;
  readonly status: boolean;
  readonly abort: boolean;
  readonly acceptSmallerMtu: boolean;
  readonly without: readonly string[];
  readonly waitMs: number;
  /** The host on which it was asked for. */
  readonly by: string;
}

/** `weft network change`: the exit code. 130 when it was interrupted, which changes nothing of what hosts do. */
export async function changeNetwork(
  options: FlanneldOptions,
  request: ChangeRequest,
  { output, screen, signal }: Pick<RegistryCommandContext, 'output' | 'screen' | 'signal'>,
): Promise<number> {
  const opened = await askRegistry(
    { signal, failure: 'no network config', patienceMs: PATIENCE_MS * patience() },
    (logger, ended) => {
      const components = { clock: systemClock, files: systemFiles, random: systemRandom, logger };
      return openRegistry(components, registryOptions(options), ended);
    },
  );
  const registry = leasesUnder(opened.registry, opened.config);
  const change = { registry, output, clock: systemClock, random: systemRandom, width: screen.width };
  try {
    return request.status ? await showChange(change, signal) : await beginOrGoOn(change, request, signal);
  } catch (error) {
    if (!signal.aborted) throw error;
    output.print('interrupted: both paths stay up; go on with "weft network change", or end it with --abort');
    return INTERRUPTED;
  } finally {
    await registry.close();
  }
}

const PATIENCE_MS = 10_000;
/** 128 and SIGINT, as shells say it. */
const INTERRUPTED = 130;

export interface ChangeParts {
  readonly registry: Pick<Registry, 'readConfig' | 'replaceConfig' | 'list' | 'description'>;
  readonly output: Pick<Output, 'print'>;
  readonly clock: Clock;
  readonly random: () => number;
  readonly width: number | undefined;
}

/** Begins a change, or leads on the one that is under way. Refuses what can't be before anything is written. */
export async function beginOrGoOn(
  parts: ChangeParts,
  request: ChangeRequest,
  signal: AbortSignal,
): Promise<number> {
  const { registry, output } = parts;
  const text = await textOf(registry, signal);
  const plan = parseNetworkConfig(text).change;
  const id = await (request.abort
    ? abort(parts, text, plan, signal)
    : plan === undefined
      ? begin(parts, text, request, signal)
      : goOn(output, text, plan, request));
  if (id === undefined) return 0;
  return leadChange(parts, { id, without: request.without, waitMs: request.waitMs }, signal);
}

async function textOf(registry: ChangeParts['registry'], signal: AbortSignal): Promise<string> {
  const text = await registry.readConfig(signal);
  if (text === undefined)
    throw new WeftError('no-such-network', `there is no network config in ${registry.description}`);
  return text;
}

/** The id of the plan; `undefined` where hosts need none. */
async function begin(
  { registry, output, clock, random }: ChangeParts,
  text: string,
  request: ChangeRequest,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { wish, by, acceptSmallerMtu, without } = request;
  if (!isWish(wish)) {
    throw new WeftError('change', 'no change of this network is under way', {
      remedy: 'begin one with --backend, --vni, --port, --mtu or --option',
    });
  }
  const wished = judgeChange(text, wishedBackend(text, wish));
  const { records } = await registry.list(signal);
  const flannels = flannelsAmong(records, without);
  const judged = possible(wished, flannels);
  if (judged.kind === 'in-place') {
    if (judged.lessMtu && !acceptSmallerMtu) throw smallerPackets('packets may have to be smaller than now');
    await replaced(registry, text, judged.text, signal);
    output.print(`changed ${judged.what.join(' and ')}: every host does it in place`);
    if (flannels !== '')
      output.print(`hosts of flannel keep the old value until they are started again: ${flannels}`);
    return undefined;
  }
  refuseFlannel(flannels);
  if (judged.lessMtu > 0 && !acceptSmallerMtu)
    throw smallerPackets(`packets by the new path have to be ${judged.lessMtu} bytes smaller than now`);
  const id = Math.floor(random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0');
  const at = new Date(clock.now()).toISOString();
  await replaced(registry, text, withPlan(text, judged.to, { id, by, at }), signal);
  output.print(`change ${id} of ${hostsOf(records).length} hosts to ${judged.to}`);
  return id;
}

const smallerPackets = (what: string): WeftError =>
  new WeftError('change', `${what}, and containers that run keep their MTU`, {
    remedy:
      'with --accept-smaller-mtu hosts answer what is too large with "fragmentation needed", which TCP follows; programs that send large packets and drop such answers suffer',
  });

async function replaced(
  registry: ChangeParts['registry'],
  text: string,
  next: string,
  signal: AbortSignal,
): Promise<void> {
  if (await registry.replaceConfig(text, next, signal)) return;
  throw new WeftError('change', 'somebody else has just written the network config', {
    remedy: 'look at it and try again',
  });
}

const flannelsAmong = (records: readonly LeaseText[], without: readonly string[]): string =>
  hostsOf(records)
    .filter(
      ({ kind, lease, address }) =>
        kind === 'flannel' && !without.includes(lease) && !without.includes(address),
    )
    .map(({ lease, address }) => `${address} (${lease})`)
    .join(', ');

/** Flannel takes no part in a plan, and the routes of the others need none. */
const possible = (judged: JudgedChange, flannels: string): JudgedChange =>
  (flannels !== '' && judged.kind === 'path' ? judged.orInPlace : undefined) ?? judged;

function refuseFlannel(flannels: string): void {
  if (flannels === '') return;
  throw new WeftError('change', `these hosts run flannel, which can't have two paths at once: ${flannels}`, {
    remedy:
      'install weft there first, or release the leases of those that are gone with "weft release SUBNET"',
  });
}

function goOn(
  output: Pick<Output, 'print'>,
  text: string,
  plan: ChangePlan,
  { wish }: ChangeRequest,
): string {
  const isTo = plan.phase === 'prepare' || plan.phase === 'moving';
  const goal = isTo ? otherText(text) : backendText(text);
  if (isWish(wish) && (plan.phase === 'aborted' || wishedBackend(text, wish) !== goal)) throw underWay(plan);
  output.print(`change ${plan.id}, begun on ${plan.by} at ${plan.at}, goes on`);
  return plan.id;
}

async function abort(
  { registry, output }: ChangeParts,
  text: string,
  plan: ChangePlan | undefined,
  signal: AbortSignal,
): Promise<string> {
  if (plan === undefined) throw new WeftError('change', 'no change of this network is under way');
  if (plan.phase !== 'aborted') await replaced(registry, text, withPhase(text, 'aborted'), signal);
  output.print(`change ${plan.id} is aborted: hosts go back to the old path`);
  return plan.id;
}

/** Where a change stands, host by host. */
export async function showChange(
  { registry, output, width }: ChangeParts,
  signal: AbortSignal,
): Promise<number> {
  const plan = parseNetworkConfig(await textOf(registry, signal)).change;
  if (plan === undefined) {
    output.print('no change of this network is under way');
    return 0;
  }
  const { records } = await registry.list(signal);
  const progress = progressOf(plan, records);
  output.print(`change ${plan.id}, begun on ${plan.by} at ${plan.at}`);
  output.print(describeProgress(plan, { ...progress, holders: [] }));
  const rows = progress.hosts.map(({ lease, address, member, heldUpBy }) => [
    lease,
    address,
    member === undefined ? '-' : `${member.phase ?? 'none'}, ${member.done} of ${member.of} peers`,
    heldUpBy ?? 'done',
  ]);
  const table = [['LEASE', 'ADDRESS', 'HAS COME TO', 'WAITS FOR'], ...rows];
  for (const line of formatTable(table, { wrap: true, ...(width !== undefined && { width }) }))
    output.print(line);
  return 0;
}
