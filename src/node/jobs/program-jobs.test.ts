import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { ProgramJob } from '#src/backend/job.ts';
import { silentLogger } from '#src/lib/log.ts';
import { programJobs } from '#src/node/jobs/program-jobs.ts';
import { systemPrograms } from '#src/sys/child-program.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { type ProcessId, systemProcesses } from '#src/sys/process.ts';
import { until } from '#src/sys/until.ts';

/* Real programs: shells that sleep or end, and a Node that listens. */

const NEVER = new AbortController().signal;
const SHELL = { kind: 'program', key: 'shell', atEnd: 'stop', programs: ['no-such-shell', 'sh'] } as const;
const shell = (script: string): ProgramJob => ({ ...SHELL, args: ['-c', script] });

function bench(t: TestContext) {
  const folder = mkdtempSync(join(tmpdir(), 'weft-jobs-'));
  const recordPath = (key: string): string => join(folder, `${key}.pid`);
  const make = () =>
    programJobs({
      programs: systemPrograms,
      clock: systemClock,
      files: systemFiles,
      log: silentLogger,
      recordPath,
    });
  const handler = make();
  const jobs: ProgramJob[] = [];
  t.after(async () => {
    for (const job of jobs) await handler.stop(job, NEVER);
    rmSync(folder, { recursive: true });
  });
  const start = async (job: ProgramJob, lost: (reason: string) => void = () => {}, by = handler) => {
    jobs.push(job);
    await by.start(job, { lost, signal: NEVER });
  };
  const id = async (key = 'shell'): Promise<ProcessId> =>
    JSON.parse((await systemFiles.read(recordPath(key))) ?? '');
  return { folder, handler, make, start, id, recordPath };
}

const isAlive = (id: ProcessId): boolean => systemProcesses().isAlive(id);

test('a program runs until it is stopped, and the end that was asked for is no loss', async (t) => {
  const { handler, start, id, recordPath } = bench(t);
  const lost: string[] = [];
  const job = shell('exec sleep 1000');
  await start(job, (reason) => lost.push(reason));
  const running = await id();
  assert.ok(isAlive(running));
  await handler.stop(job, NEVER);
  assert.equal(isAlive(running), false);
  assert.deepEqual(lost, []);
  assert.equal(await systemFiles.read(recordPath('shell')), undefined);
});

test('one that ends is lost, with its exit code and its last line', async (t) => {
  const { start } = bench(t);
  const { promise, resolve } = Promise.withResolvers<string>();
  await start(shell('sleep 0.1; echo first; echo "no \x1b[31mlicence" >&2; exit 4'), resolve);
  assert.equal(await promise, String.raw`it ended with exit code 4: no \x1b[31mlicence`);
});

test('another start of it ends the one before', async (t) => {
  const { start, id } = bench(t);
  await start(shell('exec sleep 1000'));
  const first = await id();
  await start(shell('exec sleep 1001'));
  assert.equal(isAlive(first), false);
  assert.ok(isAlive(await id()));
});

test('one that a killed flanneld left is ended before the next is started', async (t) => {
  const { start, id, make } = bench(t);
  await start(shell('exec sleep 1000'), () => {}, make());
  const left = await id();
  await start(shell('exec sleep 1001'));
  assert.equal(isAlive(left), false);
  assert.ok(isAlive(await id()));
});

test('a program that is not there is named, with what installs it', async (t) => {
  const { start } = bench(t);
  const job: ProgramJob = {
    ...SHELL,
    programs: ['no-such-shell', '/no/such'],
    args: [],
    remedy: 'apt install it',
  };
  await assert.rejects(start(job), { message: 'there is no no-such-shell on this host; apt install it' });
});

test('it is up when its socket takes connections, and no other program may have that socket', async (t) => {
  const { folder, handler, start } = bench(t);
  const socket = join(folder, 'socket');
  const listen = `setTimeout(()=>require('net').createServer(()=>{}).listen(${JSON.stringify(socket)}),200)`;
  const job: ProgramJob = {
    ...SHELL,
    key: 'listener',
    programs: [process.execPath],
    args: ['-e', listen],
    socket,
  };
  await start(job);
  assert.equal(await systemPrograms.answers(socket), true);
  await assert.rejects(start({ ...shell('sleep 1000'), socket }), /another program takes connections on/);
  await handler.stop(job, NEVER);
  await until(async () => !(await systemPrograms.answers(socket)), { what: 'the end of the listener' });
  await assert.rejects(start({ ...shell('echo broken; exit 1'), socket }), {
    message: 'it ended with exit code 1: broken',
  });
});

test('where another will do, the one that answers is used, and only one that is ours is ended', async (t) => {
  const { folder, handler, start, make, id } = bench(t);
  const socket = join(folder, 'socket');
  const listen = `require('net').createServer(()=>{}).listen(${JSON.stringify(socket)})`;
  const job: ProgramJob = {
    ...SHELL,
    key: 'shared',
    atEnd: 'leave',
    programs: [process.execPath],
    args: ['-e', listen],
    socket: [join(folder, 'none'), socket],
    isShared: true,
  };
  // An earlier flanneld started it and left it.
  await start(job, () => {}, make());
  const first = await id('shared');
  const { promise, resolve } = Promise.withResolvers<string>();
  await start(job, resolve);
  assert.deepEqual(await id('shared'), first);
  assert.ok(isAlive(first));
  systemProcesses().signal(first, 'SIGKILL');
  assert.equal(await promise, `it takes no connections on ${socket} any more`);
  // A dead one's socket is in the way of no other.
  rmSync(socket);
  await start(job);
  const second = await id('shared');
  assert.notDeepEqual(second, first);
  await handler.stop(job, NEVER);
  assert.equal(isAlive(second), false);
  rmSync(socket, { force: true });
  // Somebody else's.
  const foreign = await systemPrograms.start({
    argv: [process.execPath, '-e', listen],
    env: {},
    onLine: () => {},
  });
  t.after(() => foreign.stop(1_000));
  await until(async () => (await systemPrograms.answers(socket)) || undefined, { what: 'the socket' });
  await start(job);
  await handler.stop(job, NEVER);
  assert.ok(isAlive(foreign.id));
});
