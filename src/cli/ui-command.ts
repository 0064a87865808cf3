import { join } from 'node:path';
import type { Command, CommandContext } from '#src/cli/command.ts';
import { COMMANDS } from '#src/cli/commands.ts';
import { serveUi } from '#src/cli/serve-ui.ts';
import { UI_FLAGS } from '#src/cli/ui-flags.ts';
import { WeftError } from '#src/lib/errors.ts';
import { addEnvironment, formatUsage, optionsOf, parseFlags } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS, type FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { driverSocket } from '#src/node/network-id.ts';
import { askNode } from '#src/observe/ask-status.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { programPath } from '#src/sys/program-path.ts';
import type { UiPlace, UiSource } from '#src/ui/server/ui-source.ts';

const FLAGS = {
  'state-dir': FLANNELD_FLAGS['state-dir'],
  'etcd-prefix': FLANNELD_FLAGS['etcd-prefix'],
  ...UI_FLAGS,
};

export const UI: Command = { shape: { flags: FLAGS }, run: uiCommand };

/** Serves the page about this host until it is interrupted. */
async function uiCommand(words: readonly string[], context: CommandContext): Promise<number> {
  const { output, environment } = context;
  const parsed = parseFlags(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    if (parsed.outcome === 'invalid') output.complain(`weft ui: ${parsed.message}`);
    output.complain(`weft ui: ${COMMANDS.ui?.about}\n${formatUsage(FLAGS)}`);
    return parsed.outcome === 'invalid' ? 2 : 0;
  }
  if (parsed.rest.length > 0) throw new WeftError('usage', `weft ui takes no word, not ${parsed.rest[0]}`);
  const { given } = addEnvironment(FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLAGS, given);
  return serveUi(hostPlace(options), options, context);
}

const SOCKET = /^(network-[0-9a-f]{12})\.sock$/;

/** This host: the APIs of its networks, and of Docker's driver where it serves that. */
function hostPlace({ stateDir, etcdPrefix }: Pick<FlanneldOptions, 'stateDir' | 'etcdPrefix'>): UiPlace {
  /** By socket: a network's name is asked once, and not again while it is silent. */
  const names = new Map<string, string | undefined>();
  const networkName = async (socket: string): Promise<string | undefined> => {
    const status = names.has(socket) ? undefined : await askNode(socket).catch(() => undefined);
    if (status !== undefined && status !== 'silent') names.set(socket, status.name);
    return names.get(socket);
  };
  return {
    title: 'this host',
    async sources() {
      const files = await systemFolders.list(stateDir);
      const ids = files.flatMap((file) => SOCKET.exec(file)?.[1] ?? []);
      const networks = ids.map(async (id): Promise<UiSource> => {
        const socket = join(stateDir, `${id}.sock`);
        const network = await networkName(socket);
        return {
          id,
          host: 'this host',
          kind: 'network',
          socket,
          ...(network !== undefined && { network }),
        };
      });
      const socket = driverSocket({ stateDir });
      const driver = files.includes('docker-driver.sock')
        ? [{ id: 'docker', host: 'this host', kind: 'driver', socket } as const]
        : [];
      return [...(await Promise.all(networks)), ...driver];
    },
    // Docker is not asked for its containers' names each time that a page opens.
    ends: async () => [],
    async trace(from, to) {
      const places = [`--state-dir=${stateDir}`, `--etcd-prefix=${etcdPrefix}`];
      return [programPath('weft'), 'trace', '--json', ...places, from, to];
    },
  };
}
