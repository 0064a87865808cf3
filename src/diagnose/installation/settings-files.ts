import { secretsIn } from '#src/diagnose/report/secrets.ts';
import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import type { FileLook } from '#src/sys/file-look.ts';
import type { Files } from '#src/sys/files.ts';

/** A file of settings or a key, as far as its rights matter. */
export interface SettingsFile {
  readonly path: string;
  readonly mode: number;
  readonly uid: number;
  /** What nobody but root may read: `a password`, `a private key`; absent for what anybody may read. */
  readonly secret?: string;
}

/** What flanneld.service reads, in its order: of two that set a variable the later one counts. */
export const FLANNELD_SETTINGS = ['/etc/default/flanneld', '/etc/weft/flanneld.conf'] as const;

/** Those of all units. */
const SETTINGS = [...FLANNELD_SETTINGS, '/etc/weft/store.conf'] as const;

/** Keys that the store's unit reads as root. */
const SECRETS = { '/etc/weft/store-key.pem': 'a private key', '/etc/weft/store-users': 'passwords' } as const;

export interface SettingsComponents {
  readonly files: Pick<Files, 'read'>;
  readonly look: FileLook;
}

/** Those that are there. `keyFile`: of flanneld's client certificate; empty for none. */
export async function readSettingsFiles(
  { files, look }: SettingsComponents,
  keyFile: string,
): Promise<readonly SettingsFile[]> {
  const keys = { ...SECRETS, ...(keyFile !== '' && { [keyFile]: 'a private key' }) };
  const settings = SETTINGS.map(async (path): Promise<[string, string | undefined]> => {
    const text = await files.read(path).catch(() => undefined);
    const variables = Array.from(parseEnvironmentFile(text ?? ''), ([name, value]) => `${name}=${value}`);
    return [path, secretsIn([], variables).length > 0 ? 'a password' : undefined];
  });
  const all = [...(await Promise.all(settings)), ...Object.entries(keys)];
  const seen = await Promise.all(
    all.map(async ([path, secret]) => {
      // What a link leads to has the rights that count.
      const found = await look.see((await look.resolve(path)) ?? path);
      return found?.kind === 'file'
        ? [{ path, mode: found.mode, uid: found.uid, ...(secret !== undefined && { secret }) }]
        : [];
    }),
  );
  return seen.flat();
}

/** Variables that both files have, with different values. */
export async function readSettingsTwice(files: Pick<Files, 'read'>): Promise<readonly string[]> {
  const [old, now] = await Promise.all(
    FLANNELD_SETTINGS.map(async (path) =>
      parseEnvironmentFile((await files.read(path).catch(() => undefined)) ?? ''),
    ),
  );
  return Array.from(now?.keys() ?? []).filter(
    (name) => old?.has(name) === true && old.get(name) !== now?.get(name),
  );
}
