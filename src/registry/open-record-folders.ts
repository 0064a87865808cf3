import { messageOf } from '#src/lib/errors.ts';
import type { EtcdApi } from '#src/registry/choose-api.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdV2RecordFolders } from '#src/registry/etcd-v2-record-folders.ts';
import {
  etcdOptions,
  type OpenRegistryComponents,
  type OpenRegistryOptions,
} from '#src/registry/open-registry.ts';
import type { RecordFolders } from '#src/registry/records.ts';

const LOOK_AGAIN_MS = 1_000;
/** Not a key that anybody has: it is asked for to see whether an API answers. */
const PROBE = { folder: 'tenants', name: 'probe' };

/** What one API said: it answers, the servers do not speak it, or it can't be known now. */
export type Answer =
  | { readonly kind: 'answers' }
  | { readonly kind: 'unsupported' | 'failed'; readonly error: unknown };

/**
 * Opens the folders of records below the prefix. With `auto` it is the v3 store wherever the servers speak v3, else the v2
 * store: all hosts must choose alike, and what they wrote so far can't decide, because the first host finds nothing. So
 * v3 that can't be asked now is waited for, even while v2 answers. The wait is logged once for each reason.
 *
 * @throws {WeftError} at once when the endpoints or the TLS files are unusable; the signal's reason when it aborts
 */
export async function openRecordFolders(
  components: OpenRegistryComponents,
  options: Omit<OpenRegistryOptions, 'lastConfig'>,
  signal: AbortSignal,
): Promise<RecordFolders> {
  const etcd = await etcdOptions(components, options);
  const apis: readonly EtcdApi[] = options.api === 'auto' ? ['v3', 'v2'] : [options.api];
  const all = await Promise.all(apis.map((api) => openApi(components, api, etcd)));
  let chosen: RecordFolders | undefined;
  try {
    const said = new Set<string>();
    for (;;) {
      const answers = await Promise.all(all.map((folders) => ask(folders, signal)));
      const choice = chooseFolders(answers);
      chosen = all[choice.at];
      if (chosen !== undefined) return chosen;
      const why = messageOf(choice.error);
      if (!said.has(why)) components.logger.warning(why);
      said.add(why);
      await components.clock.sleep(LOOK_AGAIN_MS, signal);
    }
  } finally {
    for (const folders of all) if (folders !== chosen) await folders.close();
  }
}

/** The index of the answer to go by, v3's first; −1 to ask again, and why. */
export function chooseFolders(answers: readonly Answer[]): { readonly at: number; readonly error?: unknown } {
  const decisive = answers.findIndex(({ kind }) => kind !== 'unsupported');
  const answer = answers[decisive] ?? answers[0];
  if (answer?.kind === 'answers') return { at: decisive };
  return { at: -1, error: answer?.error };
}

async function openApi(
  components: OpenRegistryComponents,
  api: EtcdApi,
  etcd: EtcdOptions,
): Promise<RecordFolders> {
  if (api === 'v2') return new EtcdV2RecordFolders(components, etcd);
  // The messages of etcd v3 are many; a host that uses v2 alone does without them.
  const { EtcdV3RecordFolders } = await import('#src/registry/etcd-v3-record-folders.ts');
  return new EtcdV3RecordFolders(components, etcd);
}

async function ask(folders: RecordFolders, signal: AbortSignal): Promise<Answer> {
  try {
    await folders.folder(PROBE.folder).read(PROBE.name, signal);
    return { kind: 'answers' };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: isUnsupported(error) ? 'unsupported' : 'failed', error };
  }
}

/** That an answer made no sense says nothing: a host that took v2 for that would be on its own. */
const isUnsupported = (error: unknown): boolean =>
  error instanceof RegistryError && error.reason === 'protocol' && /no etcd v3 API there/.test(error.message);
