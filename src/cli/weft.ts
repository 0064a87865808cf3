import { buffer } from 'node:stream/consumers';
import type { CommandContext } from '#src/cli/command.ts';
import { COMMANDS, USAGE } from '#src/cli/commands.ts';
import { screenOf } from '#src/cli/screen.ts';
import { askOn, terminalOutput } from '#src/cli/terminal.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import { VERSION } from '#src/lib/version.ts';

/** `weft WORDS`: the exit code. */
async function main(words: readonly string[], context: CommandContext): Promise<number> {
  const { output, signal } = context;
  const [name = '', ...rest] = words;
  if (/^--?version$/.test(name)) {
    output.print(`weft ${VERSION}`);
    return 0;
  }
  const entry = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (entry === undefined) {
    const isHelp = /^(|--?h(elp)?|help)$/.test(name);
    output.complain(isHelp ? USAGE : unknownCommand(name));
    return isHelp ? 0 : 2;
  }
  try {
    const command = await entry.load();
    return await command.run(rest, context);
  } catch (error) {
    output.progressEnds();
    if (isAbort(error) || signal.aborted) return 130;
    output.complain(`weft ${name}: ${messageOf(error)}`);
    return error instanceof WeftError ? error.exitCode : 1;
  }
}

const unknownCommand = (name: string): string =>
  `weft: there is no command ${name}; ${didYouMean(name, Object.keys(COMMANDS), '"weft --help" lists them')}`;

async function run(): Promise<void> {
  // `weft … | head` closes the pipe when it has enough.
  process.stdout.on('error', () => process.exit(0));
  const interrupt = new AbortController();
  const { signal } = interrupt;
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort());
  process.exitCode = await main(process.argv.slice(2), {
    output: terminalOutput(process.stdout, process.stderr),
    screen: screenOf(process.stdout, process.env),
    environment: process.env,
    signal,
    readInput: () => buffer(process.stdin),
    confirm: process.stdin.isTTY ? askOn(process.stdin, process.stderr, signal) : undefined,
    folder: process.cwd(),
  });
}

void run();
