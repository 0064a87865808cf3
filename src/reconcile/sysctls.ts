import { WeftError } from '#src/lib/errors.ts';
import type { Cared } from '#src/reconcile/caretaker.ts';
import type { Files } from '#src/sys/files.ts';

/** A kernel setting below /proc/sys, as `sysctl` names it by path: `net/ipv4/ip_forward`. Equals `sysctl -w`. */
export interface Sysctl {
  readonly path: string;
  readonly value: string;
}

/** Keeps kernel settings at their values. One that this kernel does not have is left out. */
export class Sysctls implements Cared {
  readonly name = 'sysctls';
  readonly #files: Files;
  readonly #wanted: () => readonly Sysctl[];

  /** `wanted` is read at each look. */
  constructor({ files }: { readonly files: Files }, wanted: () => readonly Sysctl[]) {
    this.#files = files;
    this.#wanted = wanted;
  }

  async ensure(): Promise<string | undefined> {
    const mended: string[] = [];
    for (const { path, value } of this.#wanted()) {
      const file = `/proc/sys/${path}`;
      const found = (await this.#files.read(file))?.trim();
      if (found === undefined || found === value) continue;
      await this.#write(file, path, value);
      mended.push(`${path} was ${found}, now ${value}`);
    }
    return mended.length === 0 ? undefined : mended.join('; ');
  }

  async #write(file: string, path: string, value: string): Promise<void> {
    try {
      await this.#files.write(file, value);
    } catch (cause) {
      throw new WeftError('sysctl', `could not set ${path} to ${value}: ${(cause as Error).message}`, {
        remedy: `run "sysctl -w ${path}=${value}" as root, or let the unit write to /proc/sys`,
        cause,
      });
    }
  }
}
