import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { CommandJob, Job } from '#src/backend/job.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { JobDesk, OWN } from '#src/node/jobs/job-desk.ts';
import type { JobHandler, JobHandlers } from '#src/node/jobs/job-handler.ts';
import { FakeClock } from '#src/sys/fake-clock.ts';

/* A desk over a handler that writes down what it was asked for. A job's command text is its value. */

const job = (key: string, text = '', set: Partial<CommandJob> = {}): CommandJob => ({
  kind: 'command',
  key,
  atEnd: 'leave',
  start: { name: key, text, variables: {}, stdin: '' },
  ...set,
});

class Bench {
  readonly clock = new FakeClock();
  readonly done: string[] = [];
  readonly said: string[] = [];
  /** Keys whose start fails. */
  readonly broken = new Set<string>();
  readonly lost = new Map<string, (reason: string) => void>();
  /** A start that hangs until it is let go. */
  hold: Promise<void> | undefined;
  readonly desk: JobDesk;
  readonly stop = new AbortController();
  readonly ended: Promise<void>;

  constructor(t: TestContext) {
    const handler: JobHandler<CommandJob> = {
      start: async ({ key, start }, { before, lost }) => {
        await this.hold;
        this.done.push(
          `${before === undefined ? 'start' : 'again'} ${key}${start?.text && ` ${start.text}`}`,
        );
        if (this.broken.has(key)) throw new Error('it is broken');
        this.lost.set(key, lost);
      },
      stop: async ({ key }) => void this.done.push(`stop ${key}`),
      format: ({ key }) => key,
    };
    const log: Logger = {
      ...silentLogger,
      error: (text) => this.said.push(text),
      info: (text) => this.said.push(text),
    };
    this.desk = new JobDesk({
      handlers: { command: async () => handler } as unknown as JobHandlers,
      clock: this.clock,
      log,
    });
    this.ended = this.desk.run(this.stop.signal);
    t.after(() => this.end());
  }

  want(subject: string, ...jobs: Job[]): Promise<string[]> {
    this.desk.set(subject, jobs);
    return this.after(0);
  }

  /** What was done by then and not asked for before. */
  async after(ms: number): Promise<string[]> {
    await this.clock.advance(ms);
    return this.done.splice(0);
  }

  get failing(): string[] {
    return Array.from(this.desk.failing(), ([subject, reason]) => `${subject}: ${reason}`);
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.ended;
  }
}

test('jobs are done in order, the node’s own before the peers’, and once', async (t) => {
  const bench = new Bench(t);
  bench.desk.set('b', [job('B')]);
  bench.desk.set('a', [job('A')]);
  assert.deepEqual(await bench.want(OWN, job('first'), job('second')), [
    'start first',
    'start second',
    'start B',
    'start A',
  ]);
  bench.desk.set('a', [job('A')]);
  assert.deepEqual(await bench.want(OWN, job('first'), job('second')), []);
  assert.deepEqual(await bench.after(3_600_000), []);
});

test('a job that changed is started again; one that is not wanted any more is stopped, and so is one that failed', async (t) => {
  const bench = new Bench(t);
  bench.broken.add('C');
  await bench.want('a', job('A'), job('B'), job('C'));
  bench.done.length = 0;
  assert.deepEqual(await bench.want('a', job('A', 'other'), job('B'), job('C')), ['again A other']);
  assert.deepEqual(await bench.want('a'), ['stop C', 'stop B', 'stop A']);
  assert.deepEqual(bench.failing, []);
  assert.deepEqual(await bench.want('a', job('A')), ['start A']);
});

test('what is wanted and given up before its turn is not done at all', async (t) => {
  const bench = new Bench(t);
  const { promise, resolve } = Promise.withResolvers<void>();
  bench.hold = promise;
  bench.desk.set('a', [job('A')]);
  await bench.after(0);
  bench.desk.set('b', [job('B')]);
  bench.desk.set('b', []);
  bench.desk.set('a', []);
  resolve();
  assert.deepEqual(await bench.after(0), ['start A', 'stop A']);
});

test('a failure is named with its subject, said once, and tried again after longer and longer pauses', async (t) => {
  const bench = new Bench(t);
  bench.broken.add('A');
  assert.deepEqual(await bench.want('a', job('A'), job('B')), ['start A', 'start B']);
  assert.deepEqual(bench.failing, ['a: A: it is broken']);
  assert.deepEqual(await bench.after(999), []);
  assert.deepEqual(await bench.after(1), ['again A']);
  assert.deepEqual(await bench.after(1_999), []);
  assert.deepEqual(await bench.after(1), ['again A']);
  assert.equal((await bench.after(3_600_000)).length, 63);
  assert.deepEqual(bench.said, ['A: it is broken']);
  bench.broken.clear();
  assert.deepEqual(await bench.after(60_000), ['again A']);
  assert.deepEqual(bench.failing, []);
  assert.deepEqual(bench.said.slice(1), ['A: it is done now']);
});

test('other values are tried at once', async (t) => {
  const bench = new Bench(t);
  bench.broken.add('A');
  await bench.want('a', job('A'));
  assert.deepEqual(await bench.want('a', job('A', 'better')), ['again A better']);
});

test('a start waits for the node’s own jobs, and fails with the first that does', async (t) => {
  const bench = new Bench(t);
  bench.desk.set(OWN, [job('A'), job('B')]);
  await bench.desk.started(bench.stop.signal);
  assert.deepEqual(await bench.after(0), ['start A', 'start B']);
  bench.broken.add('C');
  bench.desk.set(OWN, [job('A'), job('B'), job('C')]);
  await assert.rejects(bench.desk.started(bench.stop.signal), {
    code: 'backend-job',
    message: 'C: it is broken',
  });
});

test('one that ends by itself is started again at once, and after a pause when that does not last', async (t) => {
  const bench = new Bench(t);
  await bench.want(OWN, job('A'));
  bench.done.length = 0;
  bench.lost.get('A')?.('it ended');
  assert.deepEqual(bench.failing, ['own: A: it ended']);
  assert.deepEqual(await bench.after(0), ['again A']);
  assert.deepEqual(bench.failing, []);
  bench.lost.get('A')?.('it ended');
  assert.deepEqual(await bench.after(1_999), []);
  assert.deepEqual(await bench.after(1), ['again A']);
  // It holds for long enough.
  await bench.after(10_000);
  bench.lost.get('A')?.('it ended');
  assert.deepEqual(await bench.after(0), ['again A']);
});

test('the end of an earlier run of a job is no news', async (t) => {
  const bench = new Bench(t);
  await bench.want(OWN, job('A'));
  const old = bench.lost.get('A');
  await bench.want(OWN, job('A', 'other'));
  bench.done.length = 0;
  old?.('it ended');
  assert.deepEqual(await bench.after(60_000), []);
  assert.deepEqual(bench.failing, []);
});

test('what needs a job comes after it, and again whenever that one was started again', async (t) => {
  const bench = new Bench(t);
  bench.broken.add('daemon');
  const peer = job('peer', '', { needs: 'daemon' });
  await bench.want('a', peer);
  assert.deepEqual(await bench.want(OWN, job('daemon')), ['start daemon']);
  bench.broken.clear();
  assert.deepEqual(await bench.after(1_000), ['again daemon', 'start peer']);
  await bench.after(10_000);
  bench.lost.get('daemon')?.('it ended');
  assert.deepEqual(await bench.after(0), ['again daemon', 'again peer']);
});

test('at the end only what asks for it is taken back, the last first', async (t) => {
  const bench = new Bench(t);
  await bench.want(OWN, job('A', '', { atEnd: 'stop' }), job('B'), job('C', '', { atEnd: 'stop' }));
  bench.done.length = 0;
  await bench.end();
  assert.deepEqual(bench.done, ['stop C', 'stop A']);
});

test('to plan is to do nothing', async () => {
  const desk = new JobDesk({
    handlers: {
      command: async () => ({
        start: async () => assert.fail(),
        stop: async () => assert.fail(),
        format: ({ key }: Job) => `sh ${key}`,
      }),
    } as unknown as JobHandlers,
    clock: new FakeClock(),
    log: silentLogger,
  });
  desk.set(OWN, [job('A')]);
  desk.set('b', [job('B')]);
  assert.deepEqual(await desk.plan(), ['sh A', 'sh B']);
});
