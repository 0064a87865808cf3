import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { type Cared, Caretaker } from '#src/reconcile/caretaker.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';

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

function caretaker(rules: Rules, intervalMs: number): { care: Caretaker; stopper: AbortController } {
  const care = new Caretaker({ clock: systemClock, log: silentLogger }, rules, { intervalMs, settleMs: 1 });
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

/** Time that passes only in pauses; the interval never ends. What was slept is noted. */
function pausesOnly(): { clock: Clock; pauses: number[] } {
  const pauses: number[] = [];
  let now = 0;
  const sleep = async (ms: number, signal?: AbortSignal): Promise<void> => {
    if (ms === NEVER_MS) return systemClock.sleep(ms, signal);
    pauses.push(ms);
    now += ms;
  };
  return { clock: { ...systemClock, monotonic: () => now, sleep }, pauses };
}

const NEVER_MS = 3_600_000;

/** Pokes, and waits for the look each time. */
async function poke(care: Caretaker, rules: Rules, times: number, before = () => {}): Promise<void> {
  for (let n = 0; n < times; n++) {
    const { looks } = rules;
    before();
    care.poke();
    await until(() => rules.looks > looks);
  }
}

test('a fight becomes slower and slower', async () => {
  const rules = new Rules();
  const { clock, pauses } = pausesOnly();
  const options = { intervalMs: NEVER_MS, settleMs: 1 };
  const care = new Caretaker({ clock, log: silentLogger }, rules, options);
  const stopper = new AbortController();
  await care.start(stopper.signal);
  await poke(care, rules, 40, () => {
    rules.broken = true;
  });
  stopper.abort();
  assert.equal(care.repairs, 40);
  assert.ok(pauses.slice(0, 29).every((ms) => ms === 1));
  assert.ok(
    pauses.slice(-9).every((ms) => ms > 900 && ms <= 1001),
    pauses.join(),
  );
});

test('while pokes keep coming and all is as wanted, the looks get further apart', async () => {
  const rules = new Rules();
  const { clock, pauses } = pausesOnly();
  const options = { intervalMs: NEVER_MS, settleMs: 5, mostPauseMs: 100 };
  const care = new Caretaker({ clock, log: silentLogger }, rules, options);
  const stopper = new AbortController();
  await care.start(stopper.signal);
  const pokes = async (times: number) => {
    await poke(care, rules, times);
    return pauses.splice(0);
  };
  assert.deepEqual(await pokes(6), [5, 5, 30, 55, 105, 105]);
  rules.broken = true;
  assert.deepEqual(await pokes(1), [105], 'a drift among many changes waits for its turn');
  assert.deepEqual(await pokes(2), [5, 5]);
  stopper.abort();
});
