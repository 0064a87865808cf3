import { RegistryError } from '#src/registry/errors.ts';
import { isNode, strangeNode, type V2Body, type V2Node } from '#src/registry/etcd-v2-body.ts';

/* What etcd v2's answers mean for a registry: expected outcomes are values, and refusals are errors. */

const KEY_NOT_FOUND = 100;
const COMPARE_FAILED = 101;
const NOT_A_FILE = 102;
const KEY_EXISTS = 105;

/** That there is no such key is an answer. */
export function assertFound(what: string, body: V2Body): void {
  const { errorCode } = body;
  if (errorCode !== undefined && errorCode !== KEY_NOT_FOUND) throw refused(what, body);
}

/** The node, which is one of etcd's. */
export function checkedNode(what: string, node: V2Node): V2Node {
  if (isNode(node)) return node;
  throw new RegistryError('protocol', `cannot ${what}: ${strangeNode(node)}`);
}

/** True when somebody else was first. Any other refusal throws. */
export function lostRace(body: V2Body, what: string): boolean {
  if (body.errorCode === undefined) return false;
  const { errorCode } = body;
  const lost = [KEY_NOT_FOUND, COMPARE_FAILED, NOT_A_FILE, KEY_EXISTS].includes(errorCode);
  if (!lost) throw refused(what, body);
  return true;
}

export function refused(what: string, { errorCode, message, cause }: V2Body): RegistryError {
  const why = [message, cause].filter(Boolean).join(' ') || 'an answer without a node';
  return new RegistryError('refused', `cannot ${what}: etcd v2 says: ${why} (${errorCode ?? 'no code'})`);
}
