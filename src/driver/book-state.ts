import { messageOf } from '#src/lib/errors.ts';

/** An endpoint of Docker's on this host. */
export interface BookedEndpoint {
  readonly networkId: string;
  readonly tenant: string;
  readonly mac: string;
  /** Without a length. */
  readonly addresses: readonly string[];
  /** The container's network namespace, from Join to Leave. */
  readonly sandbox?: string;
  /** The name that Docker has given its device there: `eth0`. Known when the container runs. */
  readonly device?: string;
  /** Whether other hosts may send to it: its container runs. */
  readonly isActive: boolean;
  readonly container?: string;
  /** The container's name first, then its aliases. */
  readonly names: readonly string[];
  /** Milliseconds since the epoch. */
  readonly since: number;
}

/** An address of a tenant that this host has claimed. */
export interface BookedAddress {
  /** Milliseconds since the epoch. */
  readonly since: number;
  /** It was another container's until it was claimed: traffic for that one may still be under way. */
  readonly isMoved: boolean;
  /** It is given back as soon as the registry answers. */
  readonly isReleasing: boolean;
}

/** What must survive the process. All of it is this host's own. */
export interface BookState {
  /** Docker's network IDs, each with its tenant's name. */
  readonly networks: Readonly<Record<string, string>>;
  /** Tenants that a network here belongs to, as their records were last read. */
  readonly tenants: Readonly<Record<string, string>>;
  /** Tenants whose network a user removed here: it is not made again. */
  readonly removed: readonly string[];
  /** By endpoint ID. */
  readonly endpoints: Readonly<Record<string, BookedEndpoint>>;
  /** The underlay addresses of all hosts as they were last known: their frames are taken before the registry answers. */
  readonly vteps: readonly string[];
  /** By tenant and address. */
  readonly addresses: Readonly<Record<string, Readonly<Record<string, BookedAddress>>>>;
}

export const EMPTY: BookState = {
  networks: {},
  tenants: {},
  removed: [],
  vteps: [],
  endpoints: {},
  addresses: {},
};

/** The state, or why it can't be read. */
export function readState(text: string): BookState | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return messageOf(error);
  }
  if (!isRecord(value)) return 'it is no JSON object';
  for (const [name, empty] of Object.entries(EMPTY)) {
    const field = value[name];
    const isRight = Array.isArray(empty) ? Array.isArray(field) : isRecord(field);
    if (field !== undefined && !isRight) return `its "${name}" is of another kind`;
  }
  return { ...EMPTY, ...value };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The record without a key. */
export function without<T>(record: Readonly<Record<string, T>>, key: string): Record<string, T> {
  const { [key]: _, ...rest } = record;
  return rest;
}
