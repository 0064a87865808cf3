import type { UnixHttp } from '#src/sys/unix-http.ts';

/** The Docker engine of this host, by its own words. */
export interface DockerEngine {
  /** `29.1.0` */
  readonly version: string;
  /** `1.52` */
  readonly apiVersion: string;
  /** Where it keeps its rules: engines before API 1.49 have iptables only, and don't say so. */
  readonly firewall: 'iptables' | 'nftables';
  /** Whether firewalld carries its rules. */
  readonly firewalld: boolean;
  /** Whether containers go on while it restarts. */
  readonly liveRestore: boolean;
  /** Rootless: its containers are in a network namespace of their own, which no rule of this host reaches. */
  readonly rootless: boolean;
}

export const DOCKER_SOCKET = '/run/docker.sock';
/** Short, because nothing waits for it that could not do without. */
const ANSWER_MS = 2_000;

/** Asks the engine; `undefined` when there is none, or it does not answer in time. */
export async function askDocker(
  { http }: { readonly http: UnixHttp },
  signal?: AbortSignal,
): Promise<DockerEngine | undefined> {
  const options = { timeoutMs: ANSWER_MS, ...(signal && { signal }) };
  const [version, info] = await Promise.all(
    ['/version', '/info'].map((path) => http.get(DOCKER_SOCKET, path, options)),
  );
  return version === undefined || info === undefined ? undefined : readDockerEngine(version, info);
}

/** Reads the answers to `GET /version` and `GET /info`; `undefined` when they are no engine's. */
export function readDockerEngine(version: string, info: string): DockerEngine | undefined {
  const { Version, ApiVersion } = fieldsOf(version);
  const { FirewallBackend, LiveRestoreEnabled, SecurityOptions } = fieldsOf(info);
  if (typeof Version !== 'string' || typeof ApiVersion !== 'string') return undefined;
  // `nftables+firewalld` (daemon/libnetwork/controller_linux.go).
  const { Driver } = (FirewallBackend ?? {}) as { Driver?: unknown };
  const drivers = typeof Driver === 'string' ? Driver.split('+') : [];
  const security = Array.isArray(SecurityOptions) ? SecurityOptions.map(String) : [];
  return {
    version: Version,
    apiVersion: ApiVersion,
    firewall: drivers.includes('nftables') ? 'nftables' : 'iptables',
    firewalld: drivers.includes('firewalld'),
    liveRestore: LiveRestoreEnabled === true,
    rootless: security.some((option) => option.split(',').includes('name=rootless')),
  };
}

function fieldsOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
