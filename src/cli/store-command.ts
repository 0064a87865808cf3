import { dirname } from 'node:path';
import type { Command, CommandContext } from '#src/cli/command.ts';
import { serveStore } from '#src/cli/serve-store.ts';
import { STORE_ENVIRONMENT, STORE_FLAGS, STORE_USAGE, type StoreCommandName } from '#src/cli/store-flags.ts';
import {
  addEnvironment,
  type FlagTable,
  formatUsage,
  type OptionsOf,
  optionsOf,
  parseFlags,
} from '#src/lib/go-flags.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdConnection } from '#src/registry/etcd-v3-connection.ts';
import { readTls, wantsTls } from '#src/registry/tls.ts';
import { restoreSnapshot } from '#src/store/restore.ts';
import { saveSnapshot } from '#src/store/save-snapshot.ts';
import { compactHistory, getKey, putKey } from '#src/store/store-client.ts';
import { type TransferEnd, transfer } from '#src/store/transfer.ts';
import { EtcdV2End } from '#src/store/transfer-etcd-v2.ts';
import { EtcdV3End } from '#src/store/transfer-etcd-v3.ts';
import { FileEnd } from '#src/store/transfer-file.ts';
import { systemByteFiles } from '#src/sys/byte-files.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { systemRandom } from '#src/sys/random.ts';

type StoreCommandContext = Pick<CommandContext, 'output' | 'environment' | 'readInput' | 'signal'>;

type ClientOptions = OptionsOf<(typeof STORE_FLAGS)['put']>;
type TransferFlags = OptionsOf<(typeof STORE_FLAGS)['export']>;

export const STORE: Command = {
  shape: {
    subcommands: Object.fromEntries(
      Object.entries(STORE_USAGE).map(([name, [takes, about]]) => [
        name,
        { takes, about, flags: STORE_FLAGS[name as StoreCommandName] },
      ]),
    ),
  },
  run: storeCommand,
};

/** `weft store WORDS`: the exit code. */
async function storeCommand(words: readonly string[], context: StoreCommandContext): Promise<number> {
  const [name = '', ...rest] = words;
  const { output } = context;
  if (!isCommand(name)) {
    const help = /^(|--?h(elp)?|help)$/.test(name);
    const hint = didYouMean(name, Object.keys(STORE_FLAGS), '"weft store --help" lists them');
    output.complain(help ? usage() : `weft store: there is no command ${name}; ${hint}`);
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
      return serveStore(optionsOf(STORE_FLAGS.serve, given), context);
    case 'get':
      return get(optionsOf(STORE_FLAGS.get, given), word, context);
    case 'put':
      return put(optionsOf(STORE_FLAGS.put, given), word, value, context);
    case 'snapshot':
      return snapshot(optionsOf(STORE_FLAGS.snapshot, given), word, context);
    case 'restore':
      return restore(optionsOf(STORE_FLAGS.restore, given), word, context);
    case 'compact':
      return compact(optionsOf(STORE_FLAGS.compact, given), context);
    default:
      return move(name, optionsOf(STORE_FLAGS[name], given), word, context);
  }
}

async function snapshot(
  options: ClientOptions,
  path: string,
  { output, signal }: StoreCommandContext,
): Promise<number> {
  const bytes = await withStore(options, (connection) =>
    saveSnapshot({ connection, files: systemByteFiles }, path, signal),
  );
  output.complain(`saved ${bytes} bytes of ${options.store} in ${path}`);
  return 0;
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

async function get(
  options: ClientOptions,
  key: string,
  { output, signal }: StoreCommandContext,
): Promise<number> {
  const value = await withStore(options, (connection) => getKey(connection, Buffer.from(key), signal));
  if (value === undefined) output.complain(`weft store: there is no key ${key} in ${options.store}`);
  else output.print(value.toString());
  return value === undefined ? 1 : 0;
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

function isCommand(name: string): name is StoreCommandName {
  return Object.hasOwn(STORE_FLAGS, name);
}

function wordsProblem(name: StoreCommandName, words: readonly string[]): string | undefined {
  const takes = STORE_USAGE[name][0].split(' ').filter(Boolean);
  if (words.length > takes.length) return `${words[takes.length]} is one word too many; flags come first`;
  const needed = takes.filter((word) => !word.startsWith('[')).length;
  if (words.length >= needed) return undefined;
  if (name === 'put' || name === 'get') return 'name the key';
  if (name === 'snapshot') return 'name the file to write';
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
