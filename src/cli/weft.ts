import { flushCompileCache } from 'node:module';
import { buffer } from 'node:stream/consumers';
import { labCommand } from '#src/cli/lab-command.ts';
import { NODE_COMMANDS, type NodeCommandName, nodeCommand } from '#src/cli/node-command.ts';
import { askOn, terminalOutput } from '#src/cli/terminal.ts';
import { isAbort, messageOf, WeftError } from '#src/lib/errors.ts';
import { attachedCommand } from '#src/sys/attached-command.ts';
import { programPath } from '#src/sys/program-path.ts';

const COMMANDS: Readonly<Record<string, string>> = {
  lab: 'a whole network of hosts on this machine: weft lab --help',
  network: "flannel's and Docker's networks: weft network --help",
  address: "the addresses of Docker's networks: weft address --help",
  move: 'move a container of a Docker network to another host: weft move --help',
  store: 'the embedded store, for a site without etcd: weft store --help',
  ...NODE_COMMANDS,
  namespace: "make the network namespace of Docker's networks, as flanneld's unit does before each start",
};
const USAGE = [
  'Usage: weft COMMAND …; weft COMMAND --help explains a command',
  ...Object.entries(COMMANDS).map(([name, what]) => `  ${name.padEnd(9)} ${what}`),
].join('\n');

const isNodeCommand = (command: string): command is NodeCommandName => Object.hasOwn(NODE_COMMANDS, command);

/** `weft WORDS`: the exit code. */
async function main(words: readonly string[], signal: AbortSignal): Promise<number> {
  const output = terminalOutput(process.stdout, process.stderr);
  const [command = '', ...rest] = words;
  try {
    if (command === 'lab') {
      const programs = { flanneld: [programPath('flanneld')], weft: [programPath('weft')] };
      const context = { output, signal, programs, attach: attachedCommand, folder: process.cwd() };
      return await labCommand(rest, context);
    }
    if (command === 'store') {
      const { storeCommand } = await import('#src/cli/store-command.ts');
      flushCompileCache();
      const readInput = () => buffer(process.stdin);
      return await storeCommand(rest, { output, environment: process.env, readInput, signal });
    }
    if (command === 'network') {
      const { networkCommand } = await import('#src/cli/network-command.ts');
      return await networkCommand(rest, { output, environment: process.env, signal });
    }
    if (command === 'namespace') {
      const { namespaceCommand } = await import('#src/cli/namespace-command.ts');
      return await namespaceCommand(rest, output);
    }
    if (command === 'address') {
      const { addressCommand } = await import('#src/cli/address-command.ts');
      return await addressCommand(rest, { output, environment: process.env, signal });
    }
    if (command === 'move') {
      const { moveCommand } = await import('#src/cli/move-command.ts');
      const confirm = process.stdin.isTTY ? askOn(process.stdin, process.stderr, signal) : undefined;
      return await moveCommand(rest, { output, environment: process.env, signal, confirm });
    }
    if (isNodeCommand(command)) {
      return await nodeCommand(command, rest, { output, environment: process.env, signal });
    }
    const isHelp = /^(|--?h(elp)?|help)$/.test(command);
    output.complain(isHelp ? USAGE : `weft: there is no command ${command}\n${USAGE}`);
    return isHelp ? 0 : 2;
  } catch (error) {
    output.progressEnds();
    if (isAbort(error) || signal.aborted) return 130;
    output.complain(`weft ${command}: ${messageOf(error)}`);
    return error instanceof WeftError ? error.exitCode : 1;
  }
}

async function run(): Promise<void> {
  // `weft … | head` closes the pipe when it has enough.
  process.stdout.on('error', () => process.exit(0));
  const interrupt = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => interrupt.abort());
  process.exitCode = await main(process.argv.slice(2), interrupt.signal);
}

void run();
