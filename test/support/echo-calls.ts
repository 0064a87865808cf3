import assert from 'node:assert/strict';
import type { Daemon } from '#src/lab/daemon.ts';
import type { Machine } from '#src/lab/machine.ts';
import { until } from '#src/sys/until.ts';
import type { CallReport } from './echo-process.ts';
import { inRepository } from './flanneld.ts';

const PROGRAM = ['test/support/echo-process.ts'];
const argv = (...words: string[]): string[] => [process.execPath, ...PROGRAM.map(inRepository), ...words];

/** Sends back all that comes to a port of the machine, by UDP and TCP. In a container of Docker's it outlives the lab: stop it there. */
export async function serveEcho(machine: Machine, port = 7000): Promise<Daemon> {
  const server = await machine.start(`echo-${port}`, argv('serve', `--port=${port}`));
  await server.waitForLog(/serving/);
  return server;
}

/**
 * Datagrams that the machine's programs have taken (`Udp: InDatagrams` of /proc/net/snmp), once the echo server has taken
 * all that came: on a busy machine it is late, and datagrams in its queue came earlier.
 */
export async function takenByEcho(machine: Machine, port = 7000): Promise<number> {
  const queue = ['ss', '-Hanu', 'sport', '=', `:${port}`];
  await until(async () => /^\S+\s+0\s/.test(await machine.must(queue)), {
    what: `an echo server on ${machine.name} that has taken all that came`,
    timeoutMs: 20_000,
  });
  return taken(machine);
}

/** The same as of now. */
export async function taken(machine: Machine): Promise<number> {
  const text = await machine.must(['grep', '^Udp: [0-9]', '/proc/net/snmp']);
  return Number(text.split(' ')[1]);
}

let calls = 0;

/** A call under way: a message per millisecond and protocol. */
export interface EchoCall {
  readonly report: Promise<CallReport>;
  /** Ends it; then there is no report. */
  stop(): void;
}

/** Resolves when the call has begun. */
export async function callEcho(
  machine: Machine,
  address: string,
  { port = 7000, ms = 3_000 }: { readonly port?: number; readonly ms?: number } = {},
): Promise<EchoCall> {
  const words = ['call', `--port=${port}`, `--address=${address}`, `--ms=${ms}`];
  const caller = await machine.start(`call-${process.pid}-${++calls}`, argv(...words));
  await caller.waitForLog(/calling/);
  const report = async (): Promise<CallReport> => {
    await caller.exited();
    const last = (await caller.log()).trim().split('\n').at(-1) ?? '';
    return JSON.parse(last) as CallReport;
  };
  const made = report();
  made.catch(() => {});
  return { report: made, stop: () => caller.kill('SIGKILL') };
}

/** Each message by UDP has its answer, and each byte by TCP came back over the one connection. */
export function assertWhole({ udp, tcp }: CallReport, what = 'a call'): void {
  assert.deepEqual(
    udp.missing,
    [],
    `${what}: datagrams without an answer, one sent per ms: ${JSON.stringify(udp)}`,
  );
  assert.ok(tcp.isKept, `${what}: ${JSON.stringify(tcp)}`);
}
