import type { Output } from '#src/cli/terminal.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { type ChangePlan, withoutPlan, withPhase } from '#src/network/change-plan.ts';
import { type ChangeHost, type ChangeProgress, progressOf } from '#src/network/change-progress.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { Registry } from '#src/registry/registry.ts';
import type { Clock } from '#src/sys/clock.ts';

export interface LeadComponents {
  readonly registry: Pick<Registry, 'readConfig' | 'replaceConfig' | 'list'>;
  readonly clock: Clock;
  readonly output: Pick<Output, 'print'>;
}

export interface LeadOptions {
  readonly id: string;
  /** Hosts that are not waited for, by lease or address. */
  readonly without: readonly string[];
  /** How long it may stand still; 0 for as long as it takes. */
  readonly waitMs: number;
}

/** Of a change that stands still for too long. */
export const HELD_UP = 3;
const LOOK_MS = 500;

/**
 * Leads a change from phase to phase as the hosts get on with it, until it is over: the exit code. It may be interrupted at any
 * time, and another one may lead on from there: hosts have both paths meanwhile.
 */
export async function leadChange(
  { registry, clock, output }: LeadComponents,
  { id, without, waitMs }: LeadOptions,
  signal: AbortSignal,
): Promise<number> {
  let said = '';
  let since = clock.monotonic();
  const say = (text: string): void => {
    if (text === said) return;
    output.print(text);
    said = text;
    since = clock.monotonic();
  };
  for (let last: ChangePlan | undefined; ; ) {
    try {
      const text = (await registry.readConfig(signal)) ?? '';
      const plan = planIn(text);
      if (plan?.id !== id) return sayEnd(last, say);
      last = plan;
      const { records } = await registry.list(signal);
      const progress = progressOf(plan, records, without);
      say(describeProgress(plan, progress));
      const { next } = progress;
      if (next !== undefined)
        await registry.replaceConfig(
          text,
          next === 'end' ? withoutPlan(text) : withPhase(text, next),
          signal,
        );
      else if (waitMs > 0 && clock.monotonic() - since > waitMs) {
        output.print(
          `it stands still for ${waitMs / 1_000} s: both paths stay up; go on with "weft network change", or end it with --abort`,
        );
        return HELD_UP;
      } else await clock.sleep(LOOK_MS, signal);
    } catch (error) {
      if (signal.aborted || isAbort(error) || !(error instanceof RegistryError)) throw error;
      say(`the registry does not answer: ${messageOf(error)}; trying again`);
      await clock.sleep(LOOK_MS, signal);
    }
  }
}

function planIn(text: string): ChangePlan | undefined {
  return text === '' ? undefined : parseNetworkConfig(text).change;
}

function sayEnd(last: ChangePlan | undefined, say: (text: string) => void): number {
  if (last?.phase === 'settling') say('done: every host uses the new path, and the network config names it');
  else if (last?.phase === 'aborted') say('aborted: every host uses the old path');
  else
    throw new WeftError(
      'change',
      'the change is gone from the network config: somebody else has written that',
    );
  return 0;
}

/** `moving: 3 of 5 hosts are done; waiting for 10.0.3.0-24 (172.16.70.193): …` */
export function describeProgress(
  { phase }: Pick<ChangePlan, 'phase'>,
  { hosts, holders }: ChangeProgress,
): string {
  const done = `${phase}: ${hosts.length - holders.length} of ${hosts.length} hosts are done`;
  const named = holders.slice(0, MOST_NAMED).map(describeHost).join('; ');
  const more = holders.length > MOST_NAMED ? `; and ${holders.length - MOST_NAMED} more` : '';
  return holders.length === 0 ? done : `${done}; waiting for ${named}${more}`;
}

const MOST_NAMED = 3;

const describeHost = ({ lease, address, heldUpBy }: ChangeHost): string =>
  `${lease} (${address}): ${heldUpBy}`;
