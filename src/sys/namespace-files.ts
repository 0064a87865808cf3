import { readFileSync, writeFileSync } from 'node:fs';
import type { Files } from '#src/sys/files.ts';
import { loadLibc } from '#src/sys/libc.ts';
import { inNetworkNamespace } from '#src/sys/network-namespace.ts';

/**
 * Files as this thread sees them from inside a network namespace: below /proc/sys/net each namespace has its own. Each call
 * is one synchronous step, because a file of /proc belongs to the namespace of the thread that opens it. Not for
 * files that take long.
 */
export class NamespaceFiles implements Pick<Files, 'read' | 'write'> {
  readonly #namespace: string;

  /** `namespace` is a path: `/run/netns/NAME`. */
  constructor(namespace: string) {
    this.#namespace = namespace;
  }

  async read(path: string): Promise<string | undefined> {
    const libc = await loadLibc();
    try {
      return inNetworkNamespace(libc, this.#namespace, () => readFileSync(path, 'utf8'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  async write(path: string, text: string | Iterable<string>): Promise<void> {
    const libc = await loadLibc();
    const whole = typeof text === 'string' ? text : [...text].join('');
    inNetworkNamespace(libc, this.#namespace, () => writeFileSync(path, whole));
  }
}
