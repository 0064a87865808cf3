import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/**
 * Visits each of many things, and lets the event loop have its turns between them. A visit that returns false is the last
 * one. Where the things may change meanwhile, `things` has to give each as it is when its turn comes.
 */
export async function inTurns<T>(
  things: Iterable<T>,
  clock: Clock,
  visit: (thing: T) => unknown,
): Promise<void> {
  const budget = new TurnBudget(clock);
  for (const thing of things) {
    if (visit(thing) === false) return;
    if (budget.isSpent) await budget.turn();
  }
}
