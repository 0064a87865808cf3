import type { FailureReason } from '#src/registry/failure.ts';

/** What etcd v2 answers: an event (`action`, `node`) or an error (`errorCode`, `message`). */
export interface V2Body {
  readonly action?: string;
  readonly node?: V2Node;
  /** etcd's own code (100 key not found, 101 compare failed, 105 key exists, 401 event index cleared). */
  readonly errorCode?: number;
  readonly message?: string;
  readonly cause?: string;
}

export interface V2Node {
  readonly key: string;
  readonly value?: string;
  readonly dir?: boolean;
  readonly nodes?: readonly V2Node[];
  /** When it ends, by the server's clock; absent for a permanent node. */
  readonly expiration?: string;
  /** Seconds left, rounded up; absent also for a node that ends just now. */
  readonly ttl?: number;
  readonly modifiedIndex: number;
  readonly createdIndex: number;
}

/** An answer that is not etcd's, or not a useful one. */
export class V2Failure extends Error {
  readonly reason: FailureReason;
  constructor(reason: FailureReason, why: string) {
    super(why);
    this.reason = reason;
  }
}

/** etcd's answer, its errors included. Of everything else that speaks HTTP the first words are given. */
export function parseBody(statusCode: number, text: string): V2Body {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    // Reported below.
  }
  const body: Readonly<Record<string, unknown>> = isObject(parsed) ? parsed : {};
  const said = (name: string): string => (typeof body[name] === 'string' ? body[name] : '');
  if (statusCode === 401) throw new V2Failure('unauthenticated', said('message') || 'HTTP status 401');
  if (statusCode === 403) throw new V2Failure('denied', said('message') || 'HTTP status 403');
  const { errorCode, node } = body;
  if (typeof errorCode === 'number' && Math.trunc(errorCode / 100) === RAFT_ERRORS) {
    throw new V2Failure('timeout', [said('message'), said('cause')].filter(Boolean).join(': '));
  }
  const isAnswer = typeof errorCode === 'number' || (errorCode === undefined && isFolderOrLeaf(node));
  if (isAnswer) return body;
  const hint =
    statusCode === 404 ? 'no etcd v2 API there (a v3-only etcd, or no --enable-v2)' : text.slice(0, 80);
  throw new V2Failure('protocol', `HTTP status ${statusCode}: ${hint.replaceAll(/\s+/g, ' ').trim()}`);
}

/** etcd v2's codes from 300 to 399: no leader, raft internal error, shutting down. */
const RAFT_ERRORS = 3;

/** Whether it has what etcd's nodes have. Nodes of nodes are checked where they are taken. */
export const isNode = (value: unknown): value is V2Node =>
  isFolderOrLeaf(value) &&
  typeof value.key === 'string' &&
  isIndex(value.modifiedIndex) &&
  isIndex(value.createdIndex);

/** What to say of one that is none. */
export const strangeNode = (value: unknown): string =>
  `not a node of etcd v2: ${String(JSON.stringify(value)).slice(0, 80)}`;

/** The shape of any node; etcd's root has neither a key nor an index. */
function isFolderOrLeaf(value: unknown): value is Readonly<Record<string, unknown>> {
  if (!isObject(value)) return false;
  const { key, value: text, dir, nodes, expiration, ttl } = value;
  return (
    isOptional(key, 'string') &&
    isOptional(text, 'string') &&
    isOptional(dir, 'boolean') &&
    isOptional(expiration, 'string') &&
    isOptional(ttl, 'number') &&
    (nodes === undefined || Array.isArray(nodes))
  );
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const isOptional = (value: unknown, type: string): boolean => value === undefined || typeof value === type;
const isIndex = (value: unknown): boolean => Number.isSafeInteger(value) && Number(value) >= 0;
