import type { Command } from '#src/cli/command.ts';
import { parseWords } from '#src/cli/command-words.ts';
import type { Output } from '#src/cli/terminal.ts';
import { MoveCaller } from '#src/driver/moves/move-caller.ts';
import { movesSocket } from '#src/driver/moves/moves.ts';
import { WeftError } from '#src/lib/errors.ts';
import { addEnvironment, type Flag, formatUsage, optionsOf } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';

export interface MoveCommandContext {
  readonly output: Output;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** Asks the user, who may say yes; `undefined` without a terminal. */
  readonly confirm: ((question: string) => Promise<boolean>) | undefined;
}

const COMMAND_FLAGS = {
  to: {
    kind: 'string',
    default: '',
    environment: false,
    description: 'the `host` that it goes to, by name or identity; its flanneld runs with --accept-moves',
  },
  'dry-run': {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'say what would move and what would not, and do nothing',
  },
  yes: { kind: 'bool', default: false, environment: false, description: 'do not ask' },
  keep: {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'leave the container here, stopped, as NAME-moved',
  },
  'checkpoint-dir': {
    kind: 'string',
    default: '',
    environment: false,
    check: (text) => (text === '' || text.startsWith('/') ? undefined : 'it has to begin with /'),
    description:
      'freeze its processes into this `folder`, which both hosts see, and restore them there (docker checkpoint, CRIU)',
  },
  'any-image': {
    kind: 'bool',
    default: false,
    environment: false,
    description: 'take the image that has this name on the other host, also if it is another one',
  },
} as const satisfies Readonly<Record<string, Flag>>;
/** As other commands about this host, it takes the daemon's command line. */
const FLAGS = { ...FLANNELD_FLAGS, ...COMMAND_FLAGS };
/** Those that matter to it. */
const SHOWN_FLAGS = { ...COMMAND_FLAGS, 'state-dir': FLANNELD_FLAGS['state-dir'] };

const USAGE = `weft move CONTAINER --to HOST [flags]: stop a container here, and start it on another host with its addresses
It says first what moves and what does not. When it fails, the container is where it was.`;

export const MOVE: Command = { shape: { flags: SHOWN_FLAGS }, run: moveCommand };

/** `weft move WORDS`: the exit code. */
async function moveCommand(words: readonly string[], context: MoveCommandContext): Promise<number> {
  const { output, environment, signal } = context;
  const help = `${USAGE}\n${formatUsage(SHOWN_FLAGS)}`;
  const parsed = parseWords(FLAGS, words);
  if (parsed.outcome !== 'parsed') {
    output.complain(parsed.outcome === 'help' ? help : `weft move: ${parsed.message}`);
    return parsed.outcome === 'help' ? 0 : 2;
  }
  const { given } = addEnvironment(FLANNELD_FLAGS, parsed.given, ENVIRONMENT_PREFIX, environment);
  const options = optionsOf(FLAGS, given);
  const { to, keep, anyImage, checkpointDir, dryRun, yes, stateDir } = options;
  const [container, ...more] = parsed.rest;
  if (container === undefined || more.length > 0 || to === '')
    throw new WeftError('usage', '"weft move CONTAINER --to HOST" takes one container and one host');
  const { confirm } = context;
  if (!yes && !dryRun && confirm === undefined)
    throw new WeftError('usage', 'there is no terminal to ask on', { remedy: 'add --yes, or --dry-run' });
  const caller = new MoveCaller(
    { http: systemUnixHttp, clock: systemClock },
    { socket: movesSocket(stateDir) },
  );
  const { id, lines } = await caller.offer({ container, to, keep, anyImage, checkpointDir }, signal);
  for (const line of lines) output.print(line);
  if (dryRun || (!yes && !(await confirm?.('Move it?')))) {
    await caller.cancel(id, signal);
    output.print('nothing was changed');
    return 0;
  }
  await caller.begin(id, signal);
  signal.addEventListener('abort', () => output.complain('the move goes on without this command'), {
    once: true,
  });
  const end = await caller.follow(id, (step) => output.print(`  ${step}`), signal);
  return end === 'moved' ? 0 : 1;
}
