import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { type Cared, Caretaker } from '#src/reconcile/caretaker.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { FakeClock } from '../../test/support/fake-clock.ts';

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

async function until(condition: () => boolean): Promise<void> {
  for (let tries = 0; tries < 2_000 && !condition(); tries++) await systemClock.sleep(1);
  assert.ok(condition());
}

function caretaker(
  rules: Rules,
  intervalMs: number,
  clock: Clock = systemClock,
): { care: Caretaker; stopper: AbortController } {
  const care = new Caretaker({ clock, log: silentLogger }, rules, { intervalMs, settleMs: 1 });
  return { care, stopper: new AbortController() };
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
  const { care, stopper } = caretaker(rules, 3_600_000);
  await care.start(stopper.signal);
  rules.broken = true;
  care.poke();
  await until(() => !rules.broken);
  rules.broken = true;
  care.poke();
  care.poke();
  await until(() => !rules.broken);
  assert.equal(care.repairs, 2);
  stopper.abort();
});

test('what nobody told of is mended at the interval', async () => {
  const rules = new Rules();
  const { care, stopper } = caretaker(rules, 5);
  await care.start(stopper.signal);
  rules.broken = true;
  await until(() => !rules.broken);
  stopper.abort();
});

test('a failure is told and goes with the next success', async () => {
  const rules = new Rules();
  const { care, stopper } = caretaker(rules, 3_600_000);
  await care.start(stopper.signal);
  rules.refusal = new Error('locked');
  care.poke();
  await until(() => care.failure === 'locked');
  rules.refusal = undefined;
  care.poke();
  await until(() => care.failure === undefined);
  stopper.abort();
});

test('a fight becomes slower and slower', async () => {
  const rules = new Rules();
  const clock = new FakeClock();
  const { care, stopper } = caretaker(rules, 3_600_000, clock);
  await care.start(stopper.signal);
  const fight = async (ms: number): Promise<void> => {
    for (let times = 0; times < ms; times++) {
      rules.broken = true;
      care.poke();
      await clock.pass(1);
    }
  };
  await fight(300);
  const soon = care.repairs;
  assert.ok(soon >= 30 && soon < 35, `${soon} repairs in 0.3 s`);
  await fight(3_000);
  assert.equal(care.repairs - soon, 3);
  stopper.abort();
});

test('while pokes keep coming and all is as wanted, the looks get further apart', async () => {
  const rules = new Rules();
  const pauses: number[] = [];
  let now = 0;
  const clock: Clock = {
    ...systemClock,
    monotonic: () => now,
    sleep: async (ms, signal) => {
      if (ms === 3_600_000) return systemClock.sleep(ms, signal);
      pauses.push(ms);
      now += ms;
    },
  };
  const options = { intervalMs: 3_600_000, settleMs: 5, mostPauseMs: 100 };
  const care = new Caretaker({ clock, log: silentLogger }, rules, options);
  const stopper = new AbortController();
  await care.start(stopper.signal);
  const pokes = async (times: number) => {
    for (let n = 0; n < times; n++) {
      const looks = rules.looks;
      care.poke();
      await until(() => rules.looks > looks);
    }
    return pauses.splice(0);
  };
  assert.deepEqual(await pokes(6), [5, 5, 30, 55, 105, 105]);
  rules.broken = true;
  assert.deepEqual(await pokes(1), [105], 'a drift among many changes waits for its turn');
  assert.deepEqual(await pokes(2), [5, 5]);
  stopper.abort();
});
