import { messageOf } from '#src/lib/errors.ts';
import type { EtcdApi } from '#src/registry/choose-api.ts';
import { RegistryError } from '#src/registry/errors.ts';
import type { EtcdOptions } from '#src/registry/etcd-options.ts';
import { EtcdV2Networks } from '#src/registry/etcd-v2-networks.ts';
import type { Networks } from '#src/registry/networks.ts';
import {
  etcdOptions,
  type OpenRegistryComponents,
  type OpenRegistryOptions,
} from '#src/registry/open-registry.ts';

const LOOK_AGAIN_MS = 1_000;
/** Rounds in which only v2 answers, before it is taken without v3's word. */
const PATIENCE = 3;

/** What one look through one API showed. */
type Look =
  | { readonly kind: 'names'; readonly names: readonly string[] }
  | { readonly kind: 'unsupported' | 'failed'; readonly error: unknown };

/**
 * Opens what lists the networks below the prefix. With `auto` it is the API that has some; the v3 store where neither has,
 * unless the servers speak v2 alone. A registry that does not answer is waited for, which is logged once.
 *
 * @throws {WeftError} at once when the endpoints or the TLS files are unusable; the signal's reason when it aborts
 */
export async function openNetworks(
  components: OpenRegistryComponents,
  options: Omit<OpenRegistryOptions, 'lastConfig'>,
  signal: AbortSignal,
): Promise<Networks> {
  const etcd = await etcdOptions(components, options);
  const apis: readonly EtcdApi[] = options.api === 'auto' ? ['v3', 'v2'] : [options.api];
  const all = await Promise.all(apis.map((api) => openApi(components, api, etcd)));
  let chosen: Networks | undefined;
  try {
    const said = new Set<string>();
    for (let round = 1; ; round++) {
      const looks = await Promise.all(all.map((networks) => lookAt(networks, signal)));
      chosen = all[chooseNetworks(looks, round)];
      if (chosen !== undefined) return chosen;
      const why = messageOf(looks.find((look) => look.kind !== 'names')?.error);
      if (!said.has(why)) components.logger.warning(why);
      said.add(why);
      await components.clock.sleep(LOOK_AGAIN_MS, signal);
    }
  } finally {
    for (const networks of all) if (networks !== chosen) await networks.close();
  }
}

/** The index of the look to go by, v3's first; −1 to look again. */
export function chooseNetworks(looks: readonly Look[], round: number): number {
  const [first, second] = looks;
  const hasNames = (look: Look | undefined): boolean => look?.kind === 'names' && look.names.length > 0;
  if (hasNames(first)) return 0;
  if (second === undefined) return first?.kind === 'names' ? 0 : -1;
  if (first?.kind === 'failed') return hasNames(second) && round > PATIENCE ? 1 : -1;
  if (second.kind === 'failed') return round > PATIENCE && first?.kind === 'names' ? 0 : -1;
  if (hasNames(second) || first?.kind === 'unsupported') return second.kind === 'names' ? 1 : -1;
  return 0;
}

async function openApi(
  components: OpenRegistryComponents,
  api: EtcdApi,
  etcd: EtcdOptions,
): Promise<Networks> {
  if (api === 'v2') return new EtcdV2Networks(components, etcd);
  // The messages of etcd v3 are many; a host that uses v2 alone does without them.
  const { EtcdV3Networks } = await import('#src/registry/etcd-v3-networks.ts');
  return new EtcdV3Networks(components, etcd);
}

async function lookAt(networks: Networks, signal: AbortSignal): Promise<Look> {
  try {
    return { kind: 'names', names: await networks.list(signal) };
  } catch (error) {
    signal.throwIfAborted();
    const isUnsupported = error instanceof RegistryError && error.reason === 'protocol';
    return { kind: isUnsupported ? 'unsupported' : 'failed', error };
  }
}
