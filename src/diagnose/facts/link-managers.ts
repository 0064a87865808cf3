import { join } from 'node:path';
import type { Files } from '#src/sys/files.ts';
import type { Folders } from '#src/sys/folders.ts';
import type { RunningProgram } from '#src/sys/process-list.ts';

/** A program that configures the host's devices, and whether it has been asked to leave the overlay's alone. */
export interface LinkManager {
  readonly name: 'NetworkManager' | 'systemd-networkd';
  /** It is asked to leave these devices alone. */
  readonly leavesAlone: boolean;
}

const FOLDERS = {
  // NetworkManager.conf(5), systemd.network(5)
  NetworkManager: [
    '/etc/NetworkManager/conf.d',
    '/run/NetworkManager/conf.d',
    '/usr/lib/NetworkManager/conf.d',
    '/etc/NetworkManager',
  ],
  'systemd-networkd': ['/etc/systemd/network', '/run/systemd/network', '/usr/lib/systemd/network'],
} as const satisfies Record<LinkManager['name'], readonly string[]>;

/** Those that run on this host. `devices`: the overlay's. */
export async function readLinkManagers(
  { files, folders }: { readonly files: Pick<Files, 'read'>; readonly folders: Pick<Folders, 'list'> },
  programs: readonly RunningProgram[],
  devices: readonly string[],
): Promise<readonly LinkManager[]> {
  const running = (['NetworkManager', 'systemd-networkd'] as const).filter((name) =>
    programs.some((program) => program.name === name),
  );
  return Promise.all(
    running.map(async (name) => {
      const texts = await Promise.all(FOLDERS[name].map((folder) => textsIn({ files, folders }, folder)));
      const leaves = name === 'NetworkManager' ? isUnmanaged : isUnmanagedNetwork;
      return {
        name,
        leavesAlone: devices.every((device) => texts.flat().some((text) => leaves(text, device))),
      };
    }),
  );
}

async function textsIn(
  { files, folders }: { readonly files: Pick<Files, 'read'>; readonly folders: Pick<Folders, 'list'> },
  folder: string,
): Promise<string[]> {
  const names = (await folders.list(folder).catch(() => [])).filter((name) => /\.(conf|network)$/.test(name));
  const read = await Promise.all(names.map((name) => files.read(join(folder, name)).catch(() => undefined)));
  return read.filter((text) => text !== undefined);
}

/** `unmanaged-devices=interface-name:flannel*` of NetworkManager.conf(5). */
export function isUnmanaged(text: string, device: string): boolean {
  const lists = Array.from(
    text.matchAll(/^\s*unmanaged-devices\s*[+=]*=\s*(.*)$/gm),
    ([, list = '']) => list,
  );
  return lists.some((list) =>
    list.split(/[;,]/).some((one) => matches(one.trim().replace(/^interface-name:=?/, ''), device)),
  );
}

/** A `.network` file that matches the device and says `Unmanaged=yes`. */
export function isUnmanagedNetwork(text: string, device: string): boolean {
  const names = /^\s*Name\s*=\s*(.*)$/m.exec(text)?.[1] ?? '';
  return (
    /^\s*Unmanaged\s*=\s*(yes|true|1|on)\s*$/m.test(text) &&
    names.split(/\s+/).some((it) => matches(it, device))
  );
}

const matches = (pattern: string, device: string): boolean =>
  pattern !== '' &&
  new RegExp(
    `^${pattern
      .replace(/[.+^${}()|[\]\\]/g, '\\$&')
      .replace(/\*/g, '.*')
      .replace(/\?/g, '.')}$`,
  ).test(device);
