import { formatTrace } from '#src/cli/format-trace.ts';
import { lookCommand } from '#src/cli/look-command.ts';
import { withSlowPackets } from '#src/cli/with-slow-packets.ts';
import { readContainers } from '#src/diagnose/facts/containers.ts';
import { CAN_NOT_LOOK } from '#src/diagnose/trace/find-ends.ts';
import { openLocalHost } from '#src/diagnose/trace/open-local-host.ts';
import { type FullTrace, runTrace } from '#src/diagnose/trace/run-trace.ts';
import { parseDockerHost } from '#src/docker/docker-host.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { artefactsOf } from '#src/node/network-id.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

/** `weft trace A B`: 0 when the packet arrives, 1 when it stops somewhere, 2 when nobody could look. */
export const TRACE = lookCommand({
  name: 'trace',
  takes: 'FROM TO',
  help: [
    '  The way of a packet between two containers, and of its answer, hop by hop on both hosts: what was found, what was',
    '  expected, and what mends the first hop that is not as it must be. FROM and TO are containers by name or ID, here or on',
    '  another host of weft, or addresses. Exit code 0 when it arrives, 1 when it stops, 2 when nobody could look.',
  ],
  flags: {
    live: {
      kind: 'bool',
      default: false,
      environment: false,
      description: 'send a marked packet as well, and say where it was last seen',
    },
    ipv6: {
      kind: 'bool',
      default: false,
      environment: false,
      description:
        'of containers that have addresses in both families, the way of IPv6; default that of IPv4',
    },
    all: {
      kind: 'bool',
      default: false,
      environment: false,
      description: 'go on behind the first hop that is not as it must be',
    },
  },
  nodeFlags: {
    'responder-port': FLANNELD_FLAGS['responder-port'],
    'docker-host': FLANNELD_FLAGS['docker-host'],
  },
  asRunning: true,
  async run({ options, words, id }, { output, screen, signal, clock }) {
    const [from, to, ...more] = words;
    if (from === undefined || to === undefined || more.length > 0)
      throw new WeftError('usage', `it takes two words, FROM and TO, not ${words.length}`, {
        exitCode: CAN_NOT_LOOK,
      });
    const place = artefactsOf(id ?? { prefix: options.etcdPrefix }, options);
    const trace = await lookOrSay(async () => {
      const host = await openLocalHost({ netlink: systemNetlink, files: systemFiles }, place);
      try {
        const socket = parseDockerHost(options.dockerHost);
        const containers = await readContainers({ http: systemUnixHttp }, { socket, signal });
        const { live, ipv6, all, responderPort: port } = options;
        const trace = () =>
          runTrace({ host, clock, containers }, { words: [from, to], ipv6, port, live, all, signal });
        if (!live) return await trace();
        const complain = (line: string) => output.complain(line);
        return await withSlowPackets([place.socket], { by: 'weft trace', clock, complain }, trace);
      } finally {
        host.close();
      }
    });
    if (options.json) output.print(JSON.stringify(trace, undefined, 2));
    else for (const line of formatTrace(trace, screen)) output.print(line);
    return exitCodeOf(trace);
  },
});

function exitCodeOf({ outcome, live }: FullTrace): number {
  if (live !== undefined) return live.lost === undefined ? 0 : 1;
  return outcome === 'stopped' ? 1 : 0;
}

/** Whatever keeps it from looking is the third exit code. */
async function lookOrSay<T>(look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (error) {
    if (isAbort(error)) throw error;
    const { code, message, remedy } =
      error instanceof WeftError ? error : { code: 'trace', message: messageOf(error), remedy: undefined };
    throw new WeftError(code, message, {
      exitCode: CAN_NOT_LOOK,
      cause: error,
      ...(remedy !== undefined && { remedy }),
    });
  }
}
