import type { ProgramJob } from '#src/backend/job.ts';
import { escapeControls } from '#src/lib/go-values.ts';
import type { Logger } from '#src/lib/log.ts';
import type { JobHandler, JobStart } from '#src/node/jobs/job-handler.ts';
import { lastLine } from '#src/node/jobs/last-line.ts';
import type { ChildProgram, ChildPrograms } from '#src/sys/child-program.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { ProcessId } from '#src/sys/process.ts';

export interface ProgramJobsComponents {
  readonly programs: ChildPrograms;
  readonly clock: Clock;
  readonly files: Files;
  readonly log: Logger;
  /** The file in which a program's process is written down, so that the next run finds what a killed one left. */
  readonly recordPath: (key: string) => string;
}

const READY_MS = 10_000;
const LOOK_EVERY_MS = 50;
/** SIGTERM comes first. */
const GRACE_MS = 5_000;

/** Keeps programs running. A program that ended is reported to the desk, which starts it again. */
export function programJobs(components: ProgramJobsComponents): JobHandler<ProgramJob> {
  const { programs, files, log, recordPath } = components;
  const running = new Map<string, RunningProgram>();

  const end = async (key: string): Promise<void> => {
    const program = running.get(key);
    if (program === undefined) return;
    // Not lost: it is ended on purpose.
    program.isWanted = false;
    await program.child.stop(GRACE_MS);
    running.delete(key);
    await files.remove(recordPath(key));
  };

  return {
    async start(job, { lost, signal }: JobStart<ProgramJob>) {
      const { key, args, env = {}, socket } = job;
      await end(key);
      const sockets = [socket ?? []].flat();
      const there = await firstAnswering(components, sockets);
      if (job.isShared && there !== undefined) {
        const child = await attach(components, key, there);
        const program: RunningProgram = { child, isWanted: true };
        running.set(key, program);
        void child.ended.then((reason) => {
          if (!program.isWanted) return;
          running.delete(key);
          lost(reason);
        });
        log.info(`${key} runs already, and takes connections on ${there}`);
        return;
      }
      await endLeftover(components, key);
      const file = programs.find(job.programs);
      if (file === undefined) throw new Error(notThere(job));
      const other = await firstAnswering(components, sockets);
      if (other !== undefined)
        throw new Error(`another program takes connections on ${other}; stop it first`);
      let said = '';
      const onLine = (line: string): void => {
        if (line.trim() !== '') said = line;
        log.verbose(1, `${key}: ${escapeControls(line)}`);
      };
      const child = await programs.start({
        argv: [file, ...args],
        env,
        onLine,
        outlives: job.atEnd === 'leave',
      });
      const program: RunningProgram = { child, isWanted: true };
      running.set(key, program);
      await files.writeAtomically(recordPath(key), JSON.stringify(child.id));
      const ended = child.ended.then((how) => `it ended with ${how}${said && `: ${lastLine(said)}`}`);
      try {
        if (sockets.length > 0) await untilItAnswers(components, sockets, ended, signal);
      } catch (error) {
        await end(key);
        throw error;
      }
      void ended.then((reason) => {
        if (!program.isWanted) return;
        running.delete(key);
        lost(reason);
      });
      log.info(`${key} runs: ${file}, process ${child.id.pid}`);
    },
    stop: ({ key }) => end(key),
    format: ({ programs: [program = ''], args }) => [program, ...args].join(' '),
  };
}

interface RunningProgram {
  readonly child: Pick<ChildProgram, 'ended' | 'stop'>;
  isWanted: boolean;
}

async function firstAnswering(
  { programs }: ProgramJobsComponents,
  sockets: readonly string[],
): Promise<string | undefined> {
  for (const socket of sockets) if (await programs.answers(socket)) return socket;
  return undefined;
}

/** A program that another process started: an earlier flanneld, whose it still is, or somebody else, who ends it. */
async function attach(
  { programs, files, recordPath }: ProgramJobsComponents,
  key: string,
  socket: string,
): Promise<RunningProgram['child']> {
  const text = await files.read(recordPath(key));
  const id = text === undefined ? undefined : parsedId(text);
  return {
    ended: programs.hangsUp(socket).then(() => `it takes no connections on ${socket} any more`),
    stop: async (graceMs) => {
      if (id !== undefined) await programs.endLeftover(id, graceMs);
    },
  };
}

async function untilItAnswers(
  components: ProgramJobsComponents,
  sockets: readonly string[],
  ended: Promise<string>,
  signal: AbortSignal,
): Promise<void> {
  const { clock } = components;
  let reason: string | undefined;
  void ended.then((text) => {
    reason = text;
  });
  const deadline = clock.monotonic() + READY_MS;
  while ((await firstAnswering(components, sockets)) === undefined) {
    if (reason !== undefined) throw new Error(reason);
    if (clock.monotonic() > deadline)
      throw new Error(
        `it runs, but took no connection on ${sockets.join(' or ')} within ${READY_MS / 1000} s`,
      );
    await clock.sleep(LOOK_EVERY_MS, signal);
  }
}

/** A flanneld that was killed had no time to end its programs. */
async function endLeftover(
  { programs, files, log, recordPath }: ProgramJobsComponents,
  key: string,
): Promise<void> {
  const text = await files.read(recordPath(key));
  if (text === undefined) return;
  const id = parsedId(text);
  if (id !== undefined) {
    log.verbose(1, `${key}: ending process ${id.pid} of an earlier run, if it is still there`);
    await programs.endLeftover(id, GRACE_MS);
  }
  await files.remove(recordPath(key));
}

function parsedId(text: string): ProcessId | undefined {
  try {
    const { pid, startTime } = JSON.parse(text);
    return Number.isInteger(pid) && pid > 1 && typeof startTime === 'string' ? { pid, startTime } : undefined;
  } catch {
    return undefined;
  }
}

const notThere = ({ programs, remedy }: ProgramJob): string =>
  `there is no ${programs[0]} on this host${remedy === undefined ? '' : `; ${remedy}`}`;
