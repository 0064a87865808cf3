import { basename, resolve } from 'node:path';
import { socketsOf } from '#src/cli/ask-networks.ts';
import type { Command, CommandContext } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { formatTable } from '#src/cli/format-table.ts';
import { readKnownPlaces } from '#src/cli/known-places.ts';
import { isFlanneld } from '#src/diagnose/checks/daemon-checks.ts';
import { type Collected, collectReport } from '#src/diagnose/report/collect-report.ts';
import { Masker } from '#src/diagnose/report/mask.ts';
import { hostParts, type ReportPart } from '#src/diagnose/report/report-parts.ts';
import { secretsIn } from '#src/diagnose/report/secrets.ts';
import { tarArchive } from '#src/diagnose/report/tar.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import {
  addEnvironment,
  type FlagTable,
  type FlagValue,
  formatUsage,
  type OptionsOf,
  optionsOf,
} from '#src/lib/go-flags.ts';
import { type Prefix, parsePrefix } from '#src/lib/ip.ts';
import { VERSION } from '#src/lib/version.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { artefactsOf, driverSocket } from '#src/node/network-id.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import type { Answers } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { systemByteFiles } from '#src/sys/byte-files.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { compress } from '#src/sys/gzip.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { type RunningProgram, systemProcessList } from '#src/sys/process-list.ts';
import { programPath } from '#src/sys/program-path.ts';

const flag = (description: string) =>
  ({ kind: 'bool', default: false, environment: false, description }) as const;
const REPORT_FLAGS = {
  write: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'write the archive to this `file`, a new one; without it weft-report-TIME.tar.gz here',
  },
  yes: flag('do not ask'),
  list: flag('show what would be in it, and write nothing'),
  'no-mask': flag('leave public addresses as they are; secrets are masked all the same'),
} as const satisfies FlagTable;
/** As other commands about this host, it takes the daemon's command line. */
const FLAGS = { ...FLANNELD_FLAGS, ...REPORT_FLAGS };
const SHOWN_FLAGS = {
  ...REPORT_FLAGS,
  'etcd-prefix': FLANNELD_FLAGS['etcd-prefix'],
  'state-dir': FLANNELD_FLAGS['state-dir'],
  'subnet-file': FLANNELD_FLAGS['subnet-file'],
};
type Options = OptionsOf<typeof FLAGS>;

const USAGE = `weft report [flags]: one archive about this host's network, for a bug report
It lists what is in it and asks before it writes. Secrets are masked, and public addresses: the same one the same way.`;

/** `weft report WORDS`: the exit code. */
async function reportCommand(words: readonly string[], context: CommandContext): Promise<number> {
  const { output, environment, signal, confirm } = context;
  const parsed = parseWords(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    const isHelp = parsed.outcome === 'help';
    output.complain(isHelp ? `${USAGE}\n${formatUsage(SHOWN_FLAGS)}` : `weft report: ${parsed.message}`);
    return isHelp ? 0 : 2;
  }
  const { given } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLAGS, given);
  if (parsed.rest.length > 0) throw new WeftError('usage', '"weft report" takes no words');
  if (!options.yes && !options.list && confirm === undefined)
    throw new WeftError('usage', 'there is no terminal to ask on', { remedy: 'add --yes, or --list' });

  const now = systemClock.now();
  const path = resolve(context.folder, options.write || `weft-report-${stampOf(now)}.tar.gz`);
  if (!options.list && (await systemByteFiles.size(path).catch(() => undefined)) !== undefined)
    throw new WeftError('report-write', `${path} exists`, { remedy: 'name another file with --write' });
  output.progress('looking at this host …');
  const programs = await programsHere();
  const masker = new Masker({
    secrets: [
      ...secretsIn(
        words,
        Object.entries(environment).map(([name, value]) => `${name}=${value}`),
      ),
      ...programs.secrets,
    ],
    keep: await overlayRanges(options, signal),
    addresses: !options.noMask,
  });
  const parts = [
    programs.part,
    ...(await daemonParts(options)),
    doctorPart(options, given),
    ...hostParts(await placesOf(options)),
  ];
  const collected = await collectReport(
    { commands: systemCommands, files: systemFiles, masker },
    parts,
    signal,
  );
  output.progressEnds();
  const files = filesOf(collected, { masker, at: now });
  for (const line of listing(files, collected)) output.print(line);
  if (options.list) return 0;
  const bytes = await compress(tarArchive(files, Math.floor(now / 1_000)));
  if (!options.yes && !(await confirm?.(`Write ${path} (${sizeOf(bytes.length)})?`))) {
    output.print('nothing was written');
    return 0;
  }
  await write(path, bytes);
  output.print(`${path}: ${sizeOf(bytes.length)}. Look into it before you send it.`);
  return 0;
}

/** The daemons' command lines and variables, and the secrets in them. */
async function programsHere(): Promise<{ readonly part: ReportPart; readonly secrets: string[] }> {
  const lines: string[] = [];
  const secrets: string[] = [];
  for (const program of systemProcessList.here().filter(isOurs)) {
    const text = await systemFiles.read(`/proc/${program.pid}/environ`).catch(() => undefined);
    const environment = text?.split('\0') ?? [];
    secrets.push(...secretsIn(program.argv, environment));
    const own = environment.filter((variable) => variable.startsWith(ENVIRONMENT_PREFIX));
    lines.push(
      [...own, ...program.argv].map((word) => (/[\s"']/.test(word) ? JSON.stringify(word) : word)).join(' '),
    );
  }
  const ask = async () => {
    if (lines.length > 0) return `${lines.join('\n')}\n`;
    throw new Error('neither flanneld nor dockerd runs here');
  };
  return { part: { name: 'command-lines.txt', ask }, secrets };
}

const isOurs = (program: RunningProgram): boolean => program.name === 'dockerd' || isFlanneld(program);

const ANSWERS = [
  '/v1/status',
  '/v1/peers',
  '/v1/leases',
  '/v1/view',
  '/v1/events',
  '/v1/counters',
] as const satisfies readonly (keyof Answers)[];
/** Of them, what the driver's socket has. */
const DRIVER_ANSWERS: readonly (keyof Answers)[] = ['/v1/status', '/v1/view', '/v1/events'];

/** What each flanneld of this host says. */
async function daemonParts(options: Options): Promise<ReportPart[]> {
  const sockets = await socketsOf({ folders: systemFolders }, { options, id: undefined });
  const of = (socket: string, folder: string, paths: readonly (keyof Answers)[]): ReportPart[] =>
    paths.map((path) => ({
      name: `${folder}/${path.slice('/v1/'.length)}.json`,
      ask: async (signal) => `${JSON.stringify(await askApi(socket, path, { signal }), undefined, 1)}\n`,
    }));
  return [
    ...sockets.flatMap((socket) => of(socket, basename(socket, '.sock'), ANSWERS)),
    ...of(driverSocket(options), 'docker-driver', DRIVER_ANSWERS),
  ];
}

/** By a process of its own: what it finds must not end this one. What nobody gave it takes from the flanneld that runs. */
function doctorPart(
  { etcdPrefix, stateDir, subnetFile }: Options,
  given: ReadonlyMap<string, FlagValue>,
): ReportPart {
  const values = { 'etcd-prefix': etcdPrefix, 'state-dir': stateDir, 'subnet-file': subnetFile };
  const flags = Object.entries(values).flatMap(([name, value]) =>
    given.has(name) ? [`--${name}=${value}`] : [],
  );
  return {
    name: 'doctor.json',
    commands: [[programPath('weft'), 'doctor', '--json', ...flags]],
    timeoutMs: 20_000,
  };
}

async function placesOf(options: Options) {
  const { subnetFile } = artefactsOf({ prefix: options.etcdPrefix }, options);
  const names = await systemFolders.list(options.stateDir).catch((): string[] => []);
  const stateFiles = names.filter((name) => /^network-[0-9a-f]{12}\.json$/.test(name));
  return {
    subnetFiles: [subnetFile],
    stateFiles: stateFiles.map((name) => resolve(options.stateDir, name)),
    tenantNamespace: TENANT_NAMESPACE,
  };
}

/** The ranges of containers: they are nobody's public addresses, whatever their numbers. */
async function overlayRanges(options: Options, signal: AbortSignal): Promise<Prefix[]> {
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink });
  try {
    const context = { ask: askApi, folders: systemFolders, signal };
    const { places, docker } = await readKnownPlaces(
      { files: systemFiles, kernel },
      { options, id: undefined },
      context,
    );
    const subnets = docker.flatMap((network) => network.subnets.flatMap((text) => parsePrefix(text) ?? []));
    return [...places.map(({ known }) => known.network), ...subnets];
  } catch {
    signal.throwIfAborted();
    return [];
  } finally {
    kernel.close();
  }
}

function filesOf(
  { parts, missing }: Collected,
  { masker, at }: { readonly masker: Masker; readonly at: number },
): { readonly name: string; readonly content: Uint8Array }[] {
  const text = [
    `weft ${VERSION} report, ${new Date(at).toISOString()}`,
    'Secrets are masked as ***.',
    masker.replaced === 0
      ? 'No public address was replaced.'
      : `${masker.replaced} public addresses are replaced by documentation addresses (RFC 5737, RFC 3849).`,
    '',
    ...(missing.length === 0 ? [] : ['What could not be had:', ...missing.map((line) => `  ${line}`)]),
    '',
  ].join('\n');
  return [{ name: 'README.txt', text }, ...parts].map((part) => ({
    name: `weft-report/${part.name}`,
    content: Buffer.from(part.text),
  }));
}

const listing = (
  files: readonly { readonly name: string; readonly content: Uint8Array }[],
  { missing }: Collected,
): string[] => [
  ...formatTable([['FILE', 'SIZE'], ...files.map(({ name, content }) => [name, sizeOf(content.length)])], {
    right: [1],
  }),
  ...missing.map((line) => `without ${line}`),
];

async function write(path: string, bytes: Uint8Array): Promise<void> {
  try {
    await systemByteFiles.write(path, pieces(bytes));
  } catch (cause) {
    const isThere = (cause as NodeJS.ErrnoException).code === 'EEXIST';
    if (!isThere) await systemByteFiles.remove(path).catch(() => {});
    throw new WeftError('report-write', `could not write ${path}: ${messageOf(cause)}`, {
      remedy: 'name another file with --write',
      cause,
    });
  }
}

async function* pieces(bytes: Uint8Array): AsyncGenerator<Buffer> {
  yield Buffer.from(bytes);
}

/** `20261127-201403`, UTC. */
const stampOf = (time: number): string =>
  new Date(time).toISOString().slice(0, 19).replaceAll(/[-:]/g, '').replace('T', '-');

const sizeOf = (bytes: number): string =>
  bytes < 1_000
    ? `${bytes} B`
    : bytes < 1_000_000
      ? `${(bytes / 1_000).toFixed(1)} kB`
      : `${(bytes / 1_000_000).toFixed(1)} MB`;

export const REPORT: Command = { shape: { flags: SHOWN_FLAGS }, run: reportCommand };
