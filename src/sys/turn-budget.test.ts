import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '#src/sys/clock.ts';
import { nextTurn } from '#src/sys/next-turn.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/** A clock that only {@link pass} moves. */
class StillClock implements Clock {
  #ms = 0;
  pass(ms: number): void {
    this.#ms += ms;
  }
  now(): number {
    return this.#ms;
  }
  monotonic(): number {
    return this.#ms;
  }
  sleep(): Promise<void> {
    throw new Error('nobody sleeps here');
  }
}

/** Rounds of so many milliseconds each; what `note` is called with says when. */
async function work(clock: StillClock, rounds: number, ms: number, note: () => void): Promise<void> {
  const budget = new TurnBudget(clock);
  for (let round = 0; round < rounds; round++) {
    clock.pass(ms);
    note();
    await budget.turn();
  }
}

/** How many milliseconds of work there were in each turn of the event loop while `work` went on. */
async function timeInTurns(clock: StillClock, work: Promise<unknown>): Promise<number[]> {
  let isDone = false;
  const done = work.finally(() => {
    isDone = true;
  });
  const spent: number[] = [];
  for (let before = clock.monotonic(); !isDone; before = clock.monotonic()) {
    await nextTurn();
    spent.push(clock.monotonic() - before);
  }
  await done;
  return spent;
}

test('work goes on at once while there is time, and waits for a turn when there is none', async () => {
  const clock = new StillClock();
  const budget = new TurnBudget(clock);
  let turns = 0;
  const count = async (): Promise<void> => {
    for (; turns < 10; turns++) await nextTurn();
  };
  const counting = count();
  await budget.turn();
  clock.pass(2);
  await budget.turn();
  assert.equal(turns, 0);
  clock.pass(1);
  await budget.turn();
  assert.ok(turns > 0);
  await counting;
});

test('pieces of work that go on together share one turn: each turn of the event loop has no more than one of them', async () => {
  const clock = new StillClock();
  const order: string[] = [];
  const all = Promise.all(['a', 'b', 'c'].map((name) => work(clock, 9, 1, () => void order.push(name))));
  const spent = await timeInTurns(clock, all);
  // Three milliseconds, and one round of each that finds the time spent when it first looks.
  assert.ok(Math.max(...spent) <= 3 + 3, spent.join(' '));
  assert.equal(order.length, 27);
});

test('they take turns: none of them waits until another one has ended', async () => {
  const clock = new StillClock();
  const order: string[] = [];
  await Promise.all(['a', 'b'].map((name) => work(clock, 12, 1, () => void order.push(name))));
  const lastOf = (name: string) => order.lastIndexOf(name);
  assert.ok(Math.abs(lastOf('a') - lastOf('b')) <= 3, order.join(''));
});

test('short rounds ask for the time only now and then', () => {
  let asked = 0;
  const clock = new StillClock();
  const counted: Clock = Object.assign(clock, {
    monotonic: () => {
      asked++;
      return asked * 10;
    },
  });
  const budget = new TurnBudget(counted);
  let spent = 0;
  for (let round = 0; round < 80; round++) if (budget.isSpent) spent++;
  assert.equal(asked, 10);
  assert.equal(spent, 9);
});
