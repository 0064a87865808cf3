import { spawn } from 'node:child_process';

/**
 * Runs a command on this process's own terminal and resolves with its exit code as a shell reports
 * it. Ctrl-C goes to the command, which is in the same process group; this process goes on.
 */
export function attachedCommand(argv: readonly [string, ...string[]]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(argv[0], argv.slice(1), { stdio: 'inherit' });
    child.once('error', reject);
    child.once('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 143)));
  });
}
