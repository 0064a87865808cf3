import { dirname } from 'node:path';
import { STORE_ENVIRONMENT, STORE_FLAGS, STORE_USAGE, type StoreCommandName } from '#src/cli/store-flags.ts';
import type { Output } from '#src/cli/terminal.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type FlagTable,
  formatUsage,
  type OptionsOf,
  optionsOf,
  parseFlags,
} from '#src/lib/go-flags.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { readTls, wantsTls } from '#src/registry/tls.ts';
import { restoreSnapshot } from '#src/store/restore.ts';
import { compactHistory, putKey } from '#src/store/store-client.ts';
import { startStoreServer } from '#src/store/store-server.ts';
import { type TransferEnd, transfer } from '#src/store/transfer.ts';
import { EtcdV2End } from '#src/store/transfer-etcd-v2.ts';
import { EtcdV3End } from '#src/store/transfer-etcd-v3.ts';
import { FileEnd } from '#src/store/transfer-file.ts';
import { systemByteFiles } from '#src/sys/byte-files.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { systemRandom } from '#src/sys/random.ts';

export interface StoreCommandContext {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** All of standard input. */
  readonly readInput: () => Promise<Buffer>;
  /** SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

type ClientOptions = OptionsOf<(typeof STORE_FLAGS)['put']>;
type ServeOptions = OptionsOf<(typeof STORE_FLAGS)['serve']>;
type TransferFlags = OptionsOf<(typeof STORE_FLAGS)['export']>;

/** `weft store WORDS`: the exit code. */
export async function storeCommand(words: readonly string[], context: StoreCommandContext): Promise<number> {
  const [name = '', ...rest] = words;
  const { output } = context;
  if (!isCommand(name)) {
    const help = /^(|--?h(elp)?|help)$/.test(name);
    if (!help) output.complain(`weft store: there is no ${name}`);
    output.complain(usage());
    return help ? 0 : 2;
  }
  const table: FlagTable = STORE_FLAGS[name];
  const parsed = parseFlags(table, rest);
  if (parsed.outcome !== 'parsed') {
    if (parsed.outcome === 'invalid') output.complain(`weft store ${name}: ${parsed.message}`);
    else output.complain(`${usageLine(name)}\n${formatUsage(table)}`);
    return parsed.outcome === 'invalid' ? 2 : 0;
  }
  const { given, problems } = addEnvironment(table, parsed.given, STORE_ENVIRONMENT, context.environment);
  for (const problem of problems) output.complain(`ignored environment variable ${problem}`);
  const problem = wordsProblem(name, parsed.rest);
  if (problem !== undefined) {
    output.complain(`weft store ${name}: ${problem}\n${usageLine(name)}`);
    return 2;
  }
  const [word = '', value] = parsed.rest;
  switch (name) {
    case 'serve':
      return serve(optionsOf(STORE_FLAGS.serve, given), context);
    case 'put':
      return put(optionsOf(STORE_FLAGS.put, given), word, value, context);
    case 'restore':
      return restore(optionsOf(STORE_FLAGS.restore, given), word, context);
    case 'compact':
      return compact(optionsOf(STORE_FLAGS.compact, given), context);
    default:
      return move(name, optionsOf(STORE_FLAGS[name], given), word, context);
  }
}

async function serve(options: ServeOptions, { output, signal }: StoreCommandContext): Promise<number> {
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
  output.complain(`serving ${options.data} at ${server.url}, revision ${server.revision}`);
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

async function restore(
  { data }: OptionsOf<(typeof STORE_FLAGS)['restore']>,
  snapshot: string,
  { output }: StoreCommandContext,
): Promise<number> {
  process.umask(0o077);
  await systemFolders.make(dirname(data)).catch(() => {});
  const { keys, revision } = await restoreSnapshot({ files: systemByteFiles }, snapshot, data);
  output.complain(`restored ${countKeys(Number(keys))} of ${snapshot} into ${data}, at revision ${revision}`);
  return 0;
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

async function put(
  options: ClientOptions,
  key: string,
  value: string | undefined,
  { readInput, signal }: StoreCommandContext,
): Promise<number> {
  const bytes = value === undefined ? await readInput() : Buffer.from(value);
  await withStore(options, (connection) => putKey(connection, Buffer.from(key), bytes, signal));
  return 0;
}

async function compact(options: ClientOptions, { output, signal }: StoreCommandContext): Promise<number> {
  const revision = await withStore(options, (connection) => compactHistory(connection, signal));
  output.complain(`forgot all before revision ${revision}`);
  return 0;
}

async function move(
  name: 'export' | 'import',
  options: TransferFlags,
  place: string,
  { output, signal }: StoreCommandContext,
): Promise<number> {
  const store = new EtcdV3End(await storeOptions(options));
  const other = await openOther(options, place, name === 'import');
  const [source, target] = name === 'export' ? [store, other] : [other, store];
  try {
    const { entries, found } = await transfer(source, target, options, signal);
    const leased = entries.filter(({ lease }) => lease !== undefined);
    if (options.dryRun) {
      for (const { key, lease } of entries) {
        output.print(`${key}${lease === undefined ? '' : `  (${lease.remaining} s left)`}`);
      }
    }
    const what = `${countKeys(entries.length)}, ${leased.length} with a lease, from ${source.description}`;
    const there = found > 0 ? `, which had ${found}` : '';
    output.complain(`${options.dryRun ? 'would copy' : 'copied'} ${what} to ${target.description}${there}`);
    return 0;
  } finally {
    await Promise.all([source.close(), target.close()]);
  }
}

async function withStore<T>(
  options: ClientOptions,
  use: (connection: EtcdConnection) => Promise<T>,
): Promise<T> {
  const connection = new EtcdConnection(
    { clock: systemClock, random: systemRandom },
    await storeOptions(options),
  );
  try {
    return await use(connection);
  } finally {
    connection.close();
  }
}

async function storeOptions(options: ClientOptions): Promise<Omit<EtcdOptions, 'prefix'>> {
  const files = {
    caFile: options.storeCafile,
    certFile: options.storeCertfile,
    keyFile: options.storeKeyfile,
  };
  const { storeUsername: username, storePassword: password } = options;
  return {
    endpoints: parseEndpoints(options.store, { tls: wantsTls(files), flag: '--store' }),
    tls: await readTls({ files: systemFiles }, files, '--store-'),
    ...(username !== '' && { auth: { username, password } }),
  };
}

async function openOther(options: TransferFlags, place: string, mustExist: boolean): Promise<TransferEnd> {
  if (!place.includes('://')) return new FileEnd({ files: systemFiles }, place, { mustExist });
  const files = { caFile: options.etcdCafile, certFile: options.etcdCertfile, keyFile: options.etcdKeyfile };
  const { etcdUsername: username, etcdPassword: password } = options;
  const etcd: Omit<EtcdOptions, 'prefix'> = {
    endpoints: parseEndpoints(place, { tls: wantsTls(files), flag: place }),
    tls: await readTls({ files: systemFiles }, files),
    ...(username !== '' && { auth: { username, password } }),
  };
  return options.etcdApi === 'v2' ? new EtcdV2End(etcd) : new EtcdV3End(etcd);
}

function countKeys(count: number): string {
  return count === 1 ? '1 key' : `${count} keys`;
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

function isCommand(name: string): name is StoreCommandName {
  return Object.hasOwn(STORE_FLAGS, name);
}

function wordsProblem(name: StoreCommandName, words: readonly string[]): string | undefined {
  const takes = STORE_USAGE[name][0].split(' ').filter(Boolean);
  if (words.length > takes.length) return `${words[takes.length]} is one word too many; flags come first`;
  const needed = takes.filter((word) => !word.startsWith('[')).length;
  if (words.length >= needed) return undefined;
  if (name === 'put') return 'name the key';
  return name === 'restore' ? 'name the snapshot' : 'name the other side: URLs of an etcd, or a file';
}

function usageLine(name: StoreCommandName): string {
  const [words, what] = STORE_USAGE[name];
  const line = `Usage: weft store ${name} [flags] ${words}`.trimEnd();
  return `${line}\n  ${what}`;
}

function usage(): string {
  const lines = Object.entries(STORE_USAGE).map(
    ([name, [words, what]]) => `  ${`${name} ${words}`.padEnd(18)} ${what}`,
  );
  return ['Usage: weft store COMMAND …; weft store COMMAND --help lists its flags', ...lines].join('\n');
}
