import { rmSync } from 'node:fs';
import type { TestContext } from 'node:test';
import {
  type CommandOptions,
  type CommandResult,
  type CommandRunner,
  systemCommands,
} from '#src/sys/command.ts';

let made = 0;

/** A network namespace for one test, taken away when the test ends. Runs programs in it and nothing else. */
export class Namespace implements CommandRunner {
  readonly name: string;
  /** The machine has one lock for all namespaces, and iptables-legacy fails while another process has it. */
  readonly #lock: string;

  private constructor(name: string) {
    this.name = name;
    this.#lock = `/run/${name}.lock`;
  }

  static async make(t: TestContext): Promise<Namespace> {
    const namespace = new Namespace(`weft-firewall-${process.pid}-${++made}`);
    await must(systemCommands, ['ip', 'netns', 'add', namespace.name]);
    t.after(() => must(systemCommands, ['ip', 'netns', 'del', namespace.name]));
    t.after(() => rmSync(namespace.#lock, { force: true }));
    return namespace;
  }

  run(argv: readonly [string, ...string[]], options?: CommandOptions): Promise<CommandResult> {
    const enter = [
      'nsenter',
      `--net=/run/netns/${this.name}`,
      'env',
      `XTABLES_LOCKFILE=${this.#lock}`,
    ] as const;
    return systemCommands.run([...enter, ...argv], options);
  }

  /** The command, in words without blanks, and its standard output. Throws when it fails. */
  must(line: string, stdin?: string): Promise<string> {
    const [program = '', ...args] = line.split(' ');
    return must(this, [program, ...args], stdin);
  }
}

/** Runs a command and returns its standard output; throws when it fails. */
export async function must(
  commands: CommandRunner,
  argv: readonly [string, ...string[]],
  stdin?: string,
): Promise<string> {
  const { code, stdout, stderr } = await commands.run(argv, stdin === undefined ? {} : { stdin });
  if (code !== 0) throw new Error(`${argv.join(' ')}: exit code ${code}: ${stderr}`);
  return stdout;
}
