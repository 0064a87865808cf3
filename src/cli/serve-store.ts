import { dirname } from 'node:path';
import type { CommandContext } from '#src/cli/command.ts';
import type { STORE_FLAGS } from '#src/cli/store-flags.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { OptionsOf } from '#src/lib/go-flags.ts';
import { silentLogger } from '#src/lib/log.ts';
import { readTls } from '#src/registry/tls.ts';
import { startStoreServer } from '#src/store/store-server.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { serviceManager } from '#src/sys/systemd-notify.ts';

type ServeOptions = OptionsOf<(typeof STORE_FLAGS)['serve']>;

/** `weft store serve`: runs the store until the signal aborts. The exit code. */
export async function serveStore(
  options: ServeOptions,
  { output, environment, signal }: Pick<CommandContext, 'output' | 'environment' | 'signal'>,
): Promise<number> {
  const { host, port } = parseListen(options.listen);
  const tls = await serverTls(options);
  const users = await readUsers(options);
  const limits = limitsOf(options);
  // What the network's hosts publish is not for every user of this one.
  process.umask(0o077);
  // Where that fails, so does opening the file, with better words.
  await systemFolders.make(dirname(options.data)).catch(() => {});
  const { promise: failure, resolve: fail } = Promise.withResolvers<unknown>();
  const complain = (message: string): void => output.complain(message);
  const log = { ...silentLogger, warning: complain, error: complain };
  const server = await startStoreServer(
    { clock: systemClock, log, fatal: fail },
    { data: options.data, host, port, tls, users, retentionMs: options.retention, ...limits },
  );
  const serving = `serving ${options.data} at ${server.url}, revision ${server.revision}`;
  output.complain(serving);
  await serviceManager(environment, (error) => complain(`warning: ${messageOf(error)}`)).ready(serving);
  for (const warning of exposure(host, tls !== undefined, tls?.ca !== undefined || users.size > 0)) {
    output.complain(`warning: ${warning}`);
  }
  const stopped = new Promise<'stopped'>((resolve) => {
    if (signal.aborted) resolve('stopped');
    signal.addEventListener('abort', () => resolve('stopped'), { once: true });
  });
  const end = await Promise.race([stopped, failure]);
  await server.close();
  if (end === 'stopped') return 0;
  throw new WeftError('store-disk', `the store cannot go on with ${options.data}: ${messageOf(end)}`, {
    remedy: 'look at the disk, then start it again: what it acknowledged is there',
    cause: end,
  });
}

/** Above these, a request takes more of the loop's time than the other clients should wait. */
const LARGEST = { maxRequestBytes: 10 << 20, maxTxnOps: 10_000 };

function limitsOf({ quotaBackendBytes, maxRequestBytes, maxTxnOps }: ServeOptions) {
  const within = (flag: string, value: number, greatest: number): void => {
    if (value >= 1 && value <= greatest) return;
    throw new WeftError('flags', `--${flag} ${value} is not between 1 and ${greatest}`);
  };
  within('quota-backend-bytes', quotaBackendBytes, Number.MAX_SAFE_INTEGER);
  within('max-request-bytes', maxRequestBytes, LARGEST.maxRequestBytes);
  within('max-txn-ops', maxTxnOps, LARGEST.maxTxnOps);
  return { quota: BigInt(quotaBackendBytes), maxRequestBytes, maxTxnOps };
}

function parseListen(listen: string): { readonly host: string; readonly port: number } {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]+)):(\d+)$/.exec(listen);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535) return { host, port };
  throw new WeftError('flags', `--listen ${listen} is no address and port`, {
    remedy: 'write for example 127.0.0.1:2379 or [::1]:2379',
  });
}

async function serverTls({ certfile, keyfile, cafile }: ServeOptions) {
  const files = { certFile: certfile, keyFile: keyfile, caFile: cafile };
  const { cert, key, ca } = await readTls({ files: systemFiles }, files, '--');
  if (cert !== undefined && key !== undefined) return { cert, key, ...(ca !== undefined && { ca }) };
  if (ca === undefined) return undefined;
  throw new WeftError('flags', '--cafile is given without --certfile and --keyfile', {
    remedy: 'give the certificate and key of the store too',
  });
}

async function readUsers({ user, userFile }: ServeOptions): Promise<ReadonlyMap<string, string>> {
  const users = new Map<string, string>();
  const add = (text: string, where: string): void => {
    const colon = text.indexOf(':');
    if (colon < 1 || colon === text.length - 1) {
      throw new WeftError('flags', `${where} is not of the form name:password`);
    }
    users.set(text.slice(0, colon), text.slice(colon + 1));
  };
  if (userFile !== '') {
    const text = await systemFiles.read(userFile).catch((error: unknown) => {
      throw new WeftError('flags', `cannot read --user-file ${userFile}: ${messageOf(error)}`);
    });
    if (text === undefined) throw new WeftError('flags', `cannot read --user-file ${userFile}: no such file`);
    for (const [index, line] of text.split('\n').entries()) {
      if (line.trim() !== '') add(line, `line ${index + 1} of --user-file ${userFile}`);
    }
    if (users.size === 0) throw new WeftError('flags', `--user-file ${userFile} names no user`);
  }
  for (const [index, text] of user.entries()) add(text, `--user number ${index + 1}`);
  return users;
}

/** Like etcd, the store accepts open settings. Unlike etcd, it warns of what they mean. */
function exposure(host: string, encrypted: boolean, guarded: boolean): string[] {
  if (/^(127\.|::1$|localhost$)/.test(host)) return [];
  const warnings: string[] = [];
  if (!guarded) {
    warnings.push(
      `anyone who can reach ${host} can read and change everything; ask for certificates with --cafile, or for users with --user-file`,
    );
  }
  if (!encrypted) {
    warnings.push('what passes can be read and changed on the way; give --certfile and --keyfile');
  }
  return warnings;
}
