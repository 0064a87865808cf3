import { join } from 'node:path';
import type { ContainerApi } from '#src/docker/container-api.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import type { CopyFolder, Folders } from '#src/sys/folders.ts';

export interface CheckpointsComponents {
  readonly containers: ContainerApi;
  readonly commands: CommandRunner;
  readonly files: Pick<Files, 'read' | 'write'>;
  readonly disk: Pick<Folders, 'make' | 'list' | 'remove'>;
  readonly copy: CopyFolder;
}

/** What runc gives CRIU (runc's libcontainer/criu_linux.go). */
const CONFIG = '/etc/criu/runc.conf';
/** Of the one checkpoint in a move's folder. */
const NAME = 'weft';
/** Shows the other host that both see one folder. */
const MARK = 'move';

/** The folder of one move in a folder that both hosts see. */
export const checkpointFolder = (shared: string, move: string): string => join(shared, `weft-${move}`);

/**
 * Processes that are frozen on one host and restored on the other, by CRIU through `docker checkpoint`. The files are in a
 * folder that both hosts see. Docker restores only from a container's own folder (moby/moby#37344), so that the files are
 * copied there before the start.
 */
export class Checkpoints {
  readonly #components: CheckpointsComponents;

  constructor(components: CheckpointsComponents) {
    this.#components = components;
  }

  /** Why processes can't be frozen and restored on this host; `undefined` when they can. */
  async fault(signal: AbortSignal): Promise<string | undefined> {
    const { containers, commands, files } = this.#components;
    if (!(await containers.engine(signal)).isExperimental)
      return 'Docker makes checkpoints with "experimental": true in its daemon.json only';
    const { code, stderr } = await commands.run(['criu', 'check'], { signal });
    if (code === 127) return 'there is no criu';
    if (code !== 0) return `criu does not work with this kernel: ${stderr.trim().split('\n').at(-1)}`;
    const config = (await files.read(CONFIG)) ?? '';
    if (/^\s*tcp-established\s*$/m.test(config)) return undefined;
    return `${CONFIG} lacks the line "tcp-established", without which open connections can't be frozen`;
  }

  async prepare(folder: string): Promise<void> {
    const { disk, files } = this.#components;
    await disk.make(folder);
    await files.write(join(folder, MARK), '');
  }

  /** This host sees the folder that the other one has prepared. */
  async sees(folder: string): Promise<boolean> {
    return (await this.#components.disk.list(folder)).includes(MARK);
  }

  /** Ends the processes, with their state in the folder. Throws WeftError `docker-refused`; they run on then. */
  async freeze(container: string, folder: string, signal: AbortSignal): Promise<void> {
    await this.#components.containers.freeze(container, { folder, name: NAME }, signal);
  }

  /** Starts a container from what is in the folder. Throws WeftError `docker-refused`, and `move` when there is nothing. */
  async restore(container: string, folder: string, signal: AbortSignal): Promise<void> {
    const { containers, disk, copy } = this.#components;
    const from = join(folder, NAME);
    if ((await disk.list(from)).length === 0)
      throw new WeftError('move', `there is no checkpoint in ${folder}`);
    const own = join((await containers.engine(signal)).rootDir, 'containers', container, 'checkpoints', NAME);
    await copy(from, own);
    try {
      await containers.start(container, signal, NAME);
    } finally {
      await disk.remove(own);
    }
  }

  async remove(folder: string): Promise<void> {
    await this.#components.disk.remove(folder);
  }
}
