import type { ServerResponse } from 'node:http';
import type { ListReply } from '#src/observe/reply.ts';
import { untilDrained } from '#src/observe/until-drained.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/** Characters that are written at once. */
const PIECE = 65_536;

/**
 * Writes a long answer, and ends it. Other work has its turn every few milliseconds, and no more than one piece waits for the
 * reader. A reader that goes away, or takes nothing for `stallMs`, ends it.
 */
export async function writeList(
  response: ServerResponse,
  { name, items, rest }: ListReply,
  { clock, stallMs }: { readonly clock: Clock; readonly stallMs: number },
): Promise<void> {
  const budget = new TurnBudget(clock);
  let piece = `{${JSON.stringify(name)}:[`;
  let separator = '';
  for (const item of items) {
    piece += separator + JSON.stringify(item);
    separator = ',';
    if (piece.length >= PIECE) {
      if (!response.write(piece) && !(await untilDrained(response, { clock, stallMs }))) return;
      piece = '';
    }
    if (budget.isSpent) await budget.turn();
    if (response.destroyed) return;
  }
  const fields = JSON.stringify(rest?.() ?? {}).slice(1, -1);
  response.end(`${piece}]${fields === '' ? '' : `,${fields}`}}`);
}
