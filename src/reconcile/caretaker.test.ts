import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { type Cared, Caretaker } from '#src/reconcile/caretaker.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/** Rules that somebody can break, and that may refuse to be mended. */
class Rules implements Cared {
  readonly name = 'rules';
  broken = true;
  looks = 0;
  refusal: Error | undefined;

  async ensure(): Promise<string | undefined> {
    this.looks++;
    if (this.refusal !== undefined) throw this.refusal;
    if (!this.broken) return undefined;
    this.broken = false;
    return 'mended';
  }
}

function caretaker(
  rules: Rules,
  intervalMs: number,
): { care: Caretaker; clock: FakeClock; stopper: AbortController } {
  const clock = new FakeClock();
  const care = new Caretaker({ clock, log: silentLogger }, rules, { intervalMs, settleMs: 1 });
  return { care, clock, stopper: new AbortController() };
}

test('the start mends, and throws when it can not', async () => {
  const rules = new Rules();
  const { care, stopper } = caretaker(rules, 3_600_000);
  rules.refusal = new Error('locked');
  await assert.rejects(care.start(stopper.signal), /locked/);
  rules.refusal = undefined;
  await care.start(stopper.signal);
  assert.equal(rules.broken, false);
  stopper.abort();
});

test('a poke mends, also one that comes while it is looking', async () => {
  const rules = new Rules();
  const { care, clock, stopper } = caretaker(rules, 3_600_000);
  await care.start(stopper.signal);
  rules.broken = true;
  care.poke();
  await clock.advance(1);
  assert.equal(rules.broken, false);
  rules.broken = true;
  care.poke();
  care.poke();
  await clock.advance(1);
  assert.equal(rules.broken, false);
  assert.equal(care.repairs, 2);
  stopper.abort();
});

test('what no event reported is mended at the interval', async () => {
  const rules = new Rules();
  const { care, clock, stopper } = caretaker(rules, 5_000);
  await care.start(stopper.signal);
  rules.broken = true;
  await clock.advance(4_999);
  assert.equal(rules.broken, true);
  await clock.advance(2);
  assert.equal(rules.broken, false);
  stopper.abort();
});

test('a failure is shown and goes with the next success', async () => {
  const rules = new Rules();
  const { care, clock, stopper } = caretaker(rules, 3_600_000);
  await care.start(stopper.signal);
  rules.refusal = new Error('locked');
  care.poke();
  await clock.advance(1);
  assert.equal(care.failure, 'locked');
  rules.refusal = undefined;
  care.poke();
  await clock.advance(1);
  assert.equal(care.failure, undefined);
  stopper.abort();
});

test('a fight becomes one repair a second', async () => {
  const rules = new Rules();
  const { care, clock, stopper } = caretaker(rules, 3_600_000);
  await care.start(stopper.signal);
  for (let ms = 0; ms < 300; ms++) {
    rules.broken = true;
    care.poke();
    await clock.advance(1);
  }
  assert.ok(care.repairs >= 30 && care.repairs <= 31, `${care.repairs} repairs at once`);
  const before = care.repairs;
  for (let second = 0; second < 10; second++) {
    rules.broken = true;
    care.poke();
    await clock.advance(1_000);
  }
  assert.ok(care.repairs - before >= 9 && care.repairs - before <= 11, `${care.repairs - before} in 10 s`);
  stopper.abort();
});

test('while pokes keep coming and all is as wanted, the looks get further apart', async () => {
  const rules = new Rules();
  const clock = new FakeClock();
  const options = { intervalMs: 3_600_000, settleMs: 5, mostPauseMs: 100 };
  const care = new Caretaker({ clock, log: silentLogger }, rules, options);
  const stopper = new AbortController();
  await care.start(stopper.signal);
  const pokes = async (times: number): Promise<number[]> => {
    const pauses: number[] = [];
    for (let n = 0; n < times; n++) {
      const looks = rules.looks;
      care.poke();
      let ms = 0;
      for (; rules.looks === looks && ms < 1_000; ms++) await clock.advance(1);
      pauses.push(ms);
    }
    return pauses;
  };
  assert.deepEqual(await pokes(6), [5, 5, 30, 55, 105, 105]);
  rules.broken = true;
  assert.deepEqual(await pokes(1), [105], 'a drift among many changes waits for its turn');
  assert.deepEqual(await pokes(2), [5, 5]);
  stopper.abort();
});

test('a look at the interval is one wake, on a beat, and no look in vain puts the next one off', async () => {
  const clock = new FakeClock();
  await clock.advance(130);
  let sleeps = 0;
  const counting = {
    now: () => clock.now(),
    monotonic: () => clock.monotonic(),
    sleep: (ms: number, signal?: AbortSignal) => {
      sleeps++;
      return clock.sleep(ms, signal);
    },
  };
  const rules = new Rules();
  const options = { intervalMs: 5_000, settleMs: 50, mostPauseMs: 60_000 };
  const care = new Caretaker({ clock: counting, log: silentLogger }, rules, options);
  const stopper = new AbortController();
  await care.start(stopper.signal);
  await clock.advance(50_000);
  assert.deepEqual([rules.looks, sleeps], [11, 11]);
  assert.deepEqual(clock.sleeping, [55_000 - clock.monotonic()]);
  stopper.abort();
});
