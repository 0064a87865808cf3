import { resolve } from 'node:path';
import { socketsOf } from '#src/cli/ask-networks.ts';
import { CAPTURE_FLAGS } from '#src/cli/capture-flags.ts';
import type { Command, CommandContext } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import { findPlaces } from '#src/cli/find-places.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { withSlowPackets } from '#src/cli/with-slow-packets.ts';
import { CaptureSession } from '#src/diagnose/capture/capture-session.ts';
import { LiveCapture } from '#src/diagnose/capture/live-capture.ts';
import { capturePoints, type OverlayPlaces } from '#src/diagnose/capture/overlay-places.ts';
import { readCapture } from '#src/diagnose/capture/read-capture.ts';
import { readFilter } from '#src/diagnose/capture/read-filter.ts';
import { USUAL_PORTS } from '#src/diagnose/capture/tunnel-ports.ts';
import { ContainerClient } from '#src/docker/container-client.ts';
import { parseDockerHost } from '#src/docker/docker-host.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { addEnvironment, formatUsage, type OptionsOf, optionsOf } from '#src/lib/go-flags.ts';
import { formatIp, type Ip, parseIp } from '#src/lib/ip.ts';
import { VERSION } from '#src/lib/version.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { systemByteFiles } from '#src/sys/byte-files.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { openPacketSocket } from '#src/sys/packet-socket.ts';
import { createRecordFile } from '#src/sys/record-file.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

/** As other commands about this host, it takes the daemon's command line. */
const FLAGS = { ...FLANNELD_FLAGS, ...CAPTURE_FLAGS };
const SHOWN_FLAGS = {
  ...CAPTURE_FLAGS,
  'etcd-prefix': FLANNELD_FLAGS['etcd-prefix'],
  'state-dir': FLANNELD_FLAGS['state-dir'],
  'docker-host': FLANNELD_FLAGS['docker-host'],
};
type Options = OptionsOf<typeof FLAGS>;

const USAGE = `weft capture [flags]: the overlay's frames, one a line, as they pass or from a file
Filters of one kind are alternatives, those of several kinds must all fit.`;

/** `weft capture WORDS`: the exit code. */
async function captureCommand(words: readonly string[], context: CommandContext): Promise<number> {
  const { output, environment, signal } = context;
  const parsed = parseWords(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    const isHelp = parsed.outcome === 'help';
    output.complain(isHelp ? `${USAGE}\n${formatUsage(SHOWN_FLAGS)}` : `weft capture: ${parsed.message}`);
    return isHelp ? 0 : 2;
  }
  const { given } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLAGS, given);
  const [word] = parsed.rest;
  if (word !== undefined)
    throw new WeftError('usage', `"${word}" is no flag`, {
      remedy: `--container ${word} shows one container`,
    });
  if (options.read !== '' && resolve(options.read) === resolve(options.write))
    throw new WeftError('usage', `${options.read} can't be read and written at once`);
  const places = await findPlaces(options, options.network, signal);
  const containers = await containersOf(options, signal);
  // A file, or a device that was named, may be of another network: everything in it is of interest.
  const onlyOverlay = options.read === '' && options.device.length === 0 && !options.inner;
  const filter = readFilter(options, { places, containers: containers.map(({ ip }) => ip), onlyOverlay });
  const ports = [...new Set([...USUAL_PORTS, ...places.ports, ...options.port.map(portOf)])];
  const { write, json, count } = options;
  const session = new CaptureSession(
    {
      // A file may say of a device what moves the cursor.
      print: write === '' ? (line) => output.print(plainText(line)) : undefined,
      file: write === '' ? undefined : { path: write, create: () => createRecordFile(write) },
    },
    {
      ...{ ports, filter, json, count, names: places.names },
      section: {
        application: `weft ${VERSION}`,
        comment: `weft ${VERSION} capture ${words.join(' ')}`.trimEnd(),
      },
      hosts: hostsOf(places, containers),
    },
  );
  return options.read === ''
    ? await captureLive(session, { options, places: { ...places, ports }, context })
    : await captureFile(session, { options, context });
}

interface Run {
  readonly options: Options;
  readonly context: CommandContext;
}

async function captureFile(session: CaptureSession, { options, context }: Run): Promise<number> {
  const path = options.read;
  const { signal } = context;
  try {
    const size = await systemByteFiles.size(path);
    if (size === undefined) throw new WeftError('capture-file', `cannot read ${path}: there is no such file`);
    for await (const frame of readCapture(systemByteFiles.read(path, size)))
      if (!session.take(frame) || signal.aborted) break;
  } catch (error) {
    if (error instanceof WeftError && error.code === 'capture-write') throw error;
    if (session.shown > 0) session.close(0);
    throw new WeftError('capture-file', `cannot read ${path} to its end: ${messageOf(error)}`);
  }
  session.close(0);
  summarize(session, 0, context);
  return 0;
}

/** What is waited for is written at least so often. */
const FLUSH_MS = 250;

async function captureLive(
  session: CaptureSession,
  { options, places, context }: Run & { readonly places: OverlayPlaces },
): Promise<number> {
  const { output } = context;
  const { snapLength } = options;
  const points = capturePoints(places, { devices: options.device, inner: options.inner, snapLength });
  if (points.length === 0) {
    throw new WeftError('capture-nowhere', 'no device of an overlay is known on this host', {
      remedy: 'name one with --device, or --device any',
    });
  }
  // With --inner or a device of one's own choice, too: what goes fast passes by all of them.
  const sockets = await socketsOf({ folders: systemFolders }, { options, id: undefined });
  const complain = (line: string) => output.complain(line);
  return withSlowPackets(sockets, { by: 'weft capture', clock: systemClock, complain }, () =>
    captureAt(points, session, { options, context }),
  );
}

async function captureAt(
  points: ReturnType<typeof capturePoints>,
  session: CaptureSession,
  { options, context }: Run,
): Promise<number> {
  const { output, signal } = context;
  const { snapLength, seconds } = options;
  const ended = Promise.withResolvers<void>();
  const end = (): void => ended.resolve();
  const gone = new Set<string>();
  const capture = await LiveCapture.start(
    {
      openSocket: openPacketSocket,
      onFrame: guarded((frame) => session.take(frame) || end()),
      onOutage: (device, state) => {
        output.complain(
          `weft capture: ${device} ${state === 'gone' ? 'is gone' : 'went down; frames come again when it is up'}`,
        );
        if (state === 'gone') gone.add(device);
        if (gone.size === points.length) end();
      },
    },
    points,
    snapLength,
  );
  function guarded<T>(work: (value: T) => void): (value: T) => void {
    return (value) => {
      try {
        work(value);
      } catch (error) {
        ended.reject(error);
      }
    };
  }
  const stop = new AbortController();
  const flush = async (): Promise<void> => {
    for (;;) {
      await systemClock.sleep(FLUSH_MS, stop.signal);
      session.flush();
    }
  };
  flush().catch((error) => stop.signal.aborted || ended.reject(error));
  if (seconds > 0) systemClock.sleep(seconds * 1_000, stop.signal).then(end, () => {});
  signal.addEventListener('abort', end, { once: true });
  if (signal.aborted) end();
  const where = points.map(({ device = 'every device' }) => device).join(', ');
  output.complain(`capturing on ${where}; Ctrl-C ends it`);
  try {
    await ended.promise;
    await capture.takeRest();
  } finally {
    stop.abort();
    capture.stop();
  }
  session.close(capture.dropped());
  summarize(session, capture.dropped(), context);
  return 0;
}

function summarize({ seen, shown }: CaptureSession, dropped: number, { output }: CommandContext): void {
  const lost = dropped === 0 ? '' : `; ${dropped} were lost: the kernel had no room for them`;
  output.complain(`${shown} frames of ${seen} seen${lost}`);
}

interface NamedAddress {
  readonly name: string;
  readonly ip: Ip;
}

/** The addresses of the containers that were asked for. */
async function containersOf(
  { container, dockerHost }: Options,
  signal: AbortSignal,
): Promise<NamedAddress[]> {
  const found: NamedAddress[] = [];
  for (const name of container) {
    const ip = parseIp(name);
    if (ip !== undefined) {
      found.push({ name, ip });
      continue;
    }
    const socket = parseDockerHost(dockerHost);
    const docker = new ContainerClient({ http: systemUnixHttp, clock: systemClock }, { socket });
    const described = await docker.describe(name, signal);
    const remedy = 'see "docker ps"; a container of another host is given by its address';
    if (described === undefined)
      throw new WeftError('no-such-container', `Docker has no container ${name} on this host`, { remedy });
    const addresses = described.networks.flatMap(({ ipv4, ipv6 }) => [
      parseIp(ipv4) ?? [],
      parseIp(ipv6) ?? [],
    ]);
    for (const address of addresses.flat()) found.push({ name: described.name, ip: address });
    if (addresses.flat().length === 0)
      throw new WeftError('no-such-container', `the container ${name} has no address`, { remedy });
  }
  return found;
}

function portOf(text: string): number {
  if (/^\d+$/.test(text) && Number(text) > 0 && Number(text) < 65_536) return Number(text);
  throw new WeftError('usage', `--port ${text} is no port`);
}

/** A container's address has its name, the tunnel's end of a host its identity. */
const hostsOf = ({ peers }: OverlayPlaces, containers: readonly NamedAddress[]): [Ip, string][] => [
  ...containers
    .filter(({ name, ip }) => name !== formatIp(ip))
    .map(({ name, ip }): [Ip, string] => [ip, name]),
  ...peers.flatMap(({ publicIp, attributes: { node } }): [Ip, string][] =>
    publicIp === undefined || node === undefined ? [] : [[publicIp, node]],
  ),
];

export const CAPTURE: Command = { shape: { flags: SHOWN_FLAGS }, run: captureCommand };
