import type { Logger } from '#src/lib/log.ts';
import type { JobHandlers } from '#src/node/jobs/job-handler.ts';
import type { ChildPrograms } from '#src/sys/child-program.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { Files } from '#src/sys/files.ts';
import type { RunShell } from '#src/sys/shell.ts';

export interface JobHandlersComponents {
  readonly shell: RunShell;
  readonly programs: ChildPrograms;
  readonly clock: Clock;
  readonly files: Files;
  readonly log: Logger;
  readonly recordPath: (key: string) => string;
}

/** What does the jobs of one network. A new kind of job is a line here; most networks load none of it. */
export function jobHandlers(components: JobHandlersComponents): JobHandlers {
  const { shell, log } = components;
  const udp = once(async () => {
    const [{ udpJobs }, { openUdpTunnel }] = await Promise.all([
      import('#src/node/jobs/udp-jobs.ts'),
      import('#src/sys/udp-tunnel.ts'),
    ]);
    return udpJobs(openUdpTunnel);
  });
  return {
    command: once(async () => (await import('#src/node/jobs/command-jobs.ts')).commandJobs(shell, log)),
    program: once(async () => (await import('#src/node/jobs/program-jobs.ts')).programJobs(components)),
    'udp-tunnel': async () => (await udp()).tunnels,
    'udp-way': async () => (await udp()).ways,
  };
}

/** A handler knows what it started, so there is one of each. */
function once<T>(load: () => Promise<T>): () => Promise<T> {
  let loaded: Promise<T> | undefined;
  return () => {
    loaded ??= load();
    return loaded;
  };
}
