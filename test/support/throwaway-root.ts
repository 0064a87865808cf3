import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import type { TestContext } from 'node:test';
import { scratchFolder } from './scratch-folder.ts';

/*
 * This machine's files under an overlay: what a test writes anywhere, /etc and /usr included, is in memory and goes with it.
 * Network namespace, processes, /run and /var/lib/weft are its own; the kernel's modules are the machine's.
 */
const MAKE = `
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"
mount --rbind /sys "$1/root/sys"
mount --rbind /dev "$1/root/dev"
mount -t tmpfs -o mode=755 tmpfs "$1/root/run"
exec chroot "$1/root" sh -c 'rm -rf /var/lib/weft /etc/weft /etc/default/flanneld /etc/systemd/system/flanneld.service* /etc/systemd/system/docker.service*
  mkdir -p /run/systemd/system; echo ready; exec sleep infinity'`;

export interface ShellResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class ThrowawayRoot {
  readonly #pid: number;

  private constructor(pid: number) {
    this.#pid = pid;
  }

  static async make(t: TestContext): Promise<ThrowawayRoot> {
    const folder = scratchFolder(t);
    const words = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--propagation=private'];
    const child = spawn('unshare', [...words, 'sh', '-c', MAKE, 'sh', folder], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    t.after(async () => {
      child.kill('SIGKILL');
      // Its mounts go with the last process of the namespace.
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    });
    const [said] = (await Promise.race([once(child.stdout, 'data'), once(child, 'exit')])) as [unknown];
    if (!String(said).startsWith('ready')) throw new Error('the throw-away root could not be made');
    // The first process of the namespace is a child of what was started.
    const children = readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8');
    return new ThrowawayRoot(Number(children.trim()));
  }

  /** Runs a script of the shell in it, with these words as $1, $2, …. What it leaves running ends with the test. */
  run(script: string, ...words: string[]): ShellResult {
    const enter = [`--target=${this.#pid}`, '--mount', '--net', '--pid', '--root', '--wd'];
    const { status, stdout, stderr } = spawnSync(
      'nsenter',
      [...enter, 'bash', '-c', script, 'bash', ...words],
      {
        encoding: 'utf8',
      },
    );
    return { code: status, stdout, stderr };
  }

  /** The same, and it has to succeed: what it printed. */
  must(script: string, ...words: string[]): string {
    const { code, stdout, stderr } = this.run(script, ...words);
    if (code !== 0) throw new Error(`${script} ended with ${code}: ${stderr}`);
    return stdout;
  }
}
