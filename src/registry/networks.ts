import { WeftError } from '#src/lib/errors.ts';
import { isKeySegment } from '#src/network/key-segment.ts';

/**
 * The networks below a prefix, each with its config at `<prefix>/<name>/config`. A network is there when it has a config.
 * Every call takes a signal, has a deadline of its own, and throws RegistryError when no endpoint gave an answer.
 */
export interface Networks {
  readonly api: 'v2' | 'v3' | 'memory';
  /** For the log: the API, the endpoints and the prefix, never a password. */
  readonly description: string;

  /** Their names, sorted. */
  list(signal: AbortSignal): Promise<readonly string[]>;

  /** Their names: now, and again whenever they may be others. Ends by throwing: the signal's reason or RegistryError. */
  watch(signal: AbortSignal): AsyncIterable<readonly string[]>;

  readConfig(name: string, signal: AbortSignal): Promise<string | undefined>;

  /** Creates the config, or replaces it if it still says `previous`. False when somebody else was first. */
  writeConfig(
    name: string,
    text: string,
    previous: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean>;

  /** Removes the config if it still says `previous`; the leases stay until they end. False when it had changed or was gone. */
  removeConfig(name: string, previous: string, signal: AbortSignal): Promise<boolean>;

  close(): Promise<void>;
}

/** Folders below the prefix that are no networks: the leases of a network at the prefix itself, and the tenants. */
export const RESERVED_FOLDERS = ['subnets', 'ipv6-subnets', 'tenants'] as const;

/** Keys that a network itself has below its prefix, and those of tenants. */
const RESERVED: readonly string[] = ['config', ...RESERVED_FOLDERS];

export const isNetworkName = (name: string): boolean => isKeySegment(name) && !RESERVED.includes(name);

/** @throws {WeftError} `network-name` */
export function assertNetworkName(name: string): void {
  if (isNetworkName(name)) return;
  throw new WeftError(
    'network-name',
    `${JSON.stringify(name.slice(0, 100))} can't be the name of a network`,
    {
      remedy:
        'begin with a letter or a digit, use up to 64 letters, digits, points, hyphens and underscores, and neither "config" nor "subnets" nor "ipv6-subnets" nor "tenants"',
    },
  );
}
