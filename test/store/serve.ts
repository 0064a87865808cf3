import { flushCompileCache } from 'node:module';
import { silentLogger } from '#src/lib/log.ts';
import { startStoreServer } from '#src/store/store-server.ts';
import { systemClock } from '#src/sys/clock.ts';

/** The store alone in a process that a test kills: `serve.ts FILE`. Writes its URL when it serves. */
const fatal = (error: unknown): void => {
  process.stderr.write(`${error}\n`);
  process.exit(1);
};
const server = await startStoreServer(
  { clock: systemClock, log: silentLogger, fatal },
  { data: process.argv[2] ?? '', host: '127.0.0.1', port: Number(process.argv[3] ?? 0) },
);
process.stdout.write(`${server.url}\n`);
// A killed process would not leave its compiled code for the next one.
flushCompileCache();
