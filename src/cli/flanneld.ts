import { flushCompileCache } from 'node:module';
import { flagsLine, usageText } from '#src/cli/flanneld-help.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { addEnvironment, optionsOf, parseFlags, unknownVariables } from '#src/lib/go-flags.ts';
import { goQuote } from '#src/lib/go-values.ts';
import { loggerSource, parseVmodule } from '#src/lib/klog.ts';
import type { Logger, LoggerSource } from '#src/lib/log.ts';
import { VERSION } from '#src/lib/version.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { systemClock } from '#src/sys/clock.ts';
import { LineWriter } from '#src/sys/line-writer.ts';
import { type ServiceManager, serviceManager } from '#src/sys/systemd-notify.ts';

export interface AgentComponents {
  readonly log: LoggerSource;
  readonly systemd: ServiceManager;
}

/** The node's agent: runs until the signal aborts, and leaves the data path in place. Resolves with the exit code. */
export type RunAgent = (
  options: FlanneldOptions,
  components: AgentComponents,
  signal: AbortSignal,
) => Promise<number>;

/** What main needs of the process around it. */
export interface FlanneldProcess {
  readonly pid: number;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Standard error. False when the line was lost. */
  readonly writeLine: (line: string) => boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** `SIGINT`, `SIGTERM` and `uncaughtException`. */
  readonly events: Pick<NodeJS.EventEmitter, 'once' | 'off'>;
  /** Loaded only when it is run, so that `--help` does not wait for it. */
  readonly loadAgent: () => Promise<RunAgent>;
}

/** Go's own code for a bad command line; flannel's usage function exits 0 before that. docs/reference/exit-codes.md */
const EXIT_USAGE = 2;

/** flanneld from its command line, program name excluded, to its exit code. */
export async function main(words: readonly string[], surroundings: FlanneldProcess): Promise<number> {
  const { writeLine, environment } = surroundings;
  const parsed = parseFlags(FLANNELD_FLAGS, words);
  if (parsed.outcome === 'help') {
    writeLine(usageText());
    return 0;
  }
  if (parsed.outcome === 'invalid') {
    writeLine(`${parsed.message}\nflanneld --help lists the flags\n`);
    return EXIT_USAGE;
  }
  // Before the environment is read: FLANNELD_VERSION has no meaning in flannel either.
  if (parsed.given.get('version') === true) {
    writeLine(`v${VERSION} (weft)\n`);
    return 0;
  }
  const { given, problems } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLANNELD_FLAGS, given);
  const source = logSource(options, surroundings);
  const log = source('flanneld');
  log.info(`flanneld v${VERSION} (weft) starts with ${flagsLine(given) || 'all flags at their defaults'}`);
  const unknown = unknownVariables(FLANNELD_FLAGS, ENVIRONMENT_PREFIX, environment);
  for (const problem of [...problems, ...unknown]) log.warning(`Ignored environment variable ${problem}`);
  if (parsed.rest.length > 0) {
    // Only the first word: a password may be among the others.
    log.warning(
      `Ignored the command line from ${goQuote(parsed.rest[0] ?? '')} on: flags end at the first word that is none, and a boolean takes its value after =`,
    );
  }
  try {
    checkOptions(options);
    return await runUntilSignal(options, source, surroundings);
  } catch (error) {
    if (error instanceof WeftError) {
      log.error(messageOf(error), { code: error.code });
      return error.exitCode;
    }
    log.error(messageOf(error));
    // A fault of the program: the report needs the stack.
    if (error instanceof Error) log.verbose(1, error.stack ?? '');
    return 1;
  }
}

function logSource(options: FlanneldOptions, { writeLine, now, pid }: FlanneldProcess): LoggerSource {
  return loggerSource(
    { write: writeLine, now },
    {
      format: options.logFormat,
      verbosity: options.v,
      vmodule: parseVmodule(options.vmodule) ?? [],
      pid,
    },
  );
}

/** Refuses well-formed values that make no sense together. */
function checkOptions(options: FlanneldOptions): void {
  const margin = options.subnetLeaseRenewMargin;
  if (margin < 1 || margin >= 24 * 60) {
    throw new WeftError(
      'flags',
      `Invalid subnet-lease-renew-margin option, out of acceptable range: ${margin} is not within 1 … 1439 minutes`,
    );
  }
  const { tenantPort } = options;
  if (tenantPort < 1 || tenantPort > 65_535) {
    throw new WeftError('flags', `--tenant-port=${tenantPort} is not a port: it is not within 1 … 65535`);
  }
  const { responderPort, probeBudget } = options;
  if (responderPort < 0 || responderPort > 65_535) {
    throw new WeftError(
      'flags',
      `--responder-port=${responderPort} is not a port: it is not within 0 … 65535`,
    );
  }
  if (probeBudget < 1) {
    throw new WeftError('flags', `--probe-budget=${probeBudget} is less than one packet a second`, {
      remedy: 'set --probes=false to send none',
    });
  }
  if (options.kubeSubnetMgr) {
    throw new WeftError('flags', 'Leases from Kubernetes (--kube-subnet-mgr) are not there yet', {
      remedy: 'leave the flag out and name etcd with --etcd-endpoints',
    });
  }
}

/**
 * Runs the agent. The first SIGINT or SIGTERM asks it to stop; the handlers are removed then, so a second signal kills.
 * SIGHUP keeps its default, as in flannel.
 */
async function runUntilSignal(
  options: FlanneldOptions,
  source: LoggerSource,
  { events, environment, loadAgent, pid }: FlanneldProcess,
): Promise<number> {
  const log = source('flanneld');
  const systemd = serviceManager(environment, (error) => log.warning(messageOf(error)), pid);
  const stop = new AbortController();
  const onSignal = (signal: NodeJS.Signals): void => {
    events.off('SIGINT', onSignal);
    events.off('SIGTERM', onSignal);
    log.info(`Received ${signal}: stopping; the data path stays as it is`);
    void systemd.stopping();
    stop.abort();
  };
  const crash = Promise.withResolvers<never>();
  events.once('SIGINT', onSignal);
  events.once('SIGTERM', onSignal);
  events.once('uncaughtException', crash.reject);
  try {
    const runAgent = await loadAgent();
    const code = await Promise.race([
      runAgent(options, { log: source, systemd }, stop.signal),
      crash.promise,
    ]);
    if (code === 0) sayGoodbye(log);
    return code;
  } catch (error) {
    if (!stop.signal.aborted || !isAbort(error)) throw error;
    sayGoodbye(log);
    return 0;
  } finally {
    events.off('SIGINT', onSignal);
    events.off('SIGTERM', onSignal);
    events.off('uncaughtException', crash.reject);
  }
}

const sayGoodbye = (log: Logger): void => log.info('Exiting cleanly...');

async function run(): Promise<void> {
  const standardError = new LineWriter(2);
  const code = await main(process.argv.slice(2), {
    pid: process.pid,
    environment: process.env,
    writeLine: (line) => standardError.write(line),
    now: systemClock.now,
    events: process,
    loadAgent: async () => {
      const { runHost } = await import('#src/node/run-host.ts');
      // Node would do it at the end of the process, but a daemon may end by SIGKILL.
      flushCompileCache();
      return runHost;
    },
  });
  process.exit(code);
}

if (import.meta.main) void run();
