import type { JsonObject } from '#src/docker/container-api.ts';
import { isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';
import { HOST_ID } from '#src/tenant/host-codec.ts';
import {
  JsonFields,
  ofBoolean,
  ofInteger,
  ofPattern,
  ofText,
  type Parsed,
  parseFields,
} from '#src/tenant/json-fields.ts';
import { isTenantName } from '#src/tenant/tenant-name.ts';

/**
 * How far a move is. The host that has the container writes `asked`, `wanted`, `stopped` and `taken-back`, the other one the
 * rest. Each write is guarded by the state before it, so that both agree on one outcome.
 *
 *     asked → accepted → wanted → created → stopped → running
 *           ↘ refused           ↘ failed ↙ ↘ taken-back
 */
export type MoveState =
  | 'asked'
  | 'accepted'
  | 'refused'
  | 'wanted'
  | 'created'
  | 'stopped'
  | 'running'
  | 'failed'
  | 'taken-back';

/** A container on its way from one host to another: `moves/ID`, with a TTL. */
export interface MoveRecord {
  readonly id: string;
  /** Identities of hosts. */
  readonly from: string;
  readonly to: string;
  readonly state: MoveState;
  /** Why it was refused or failed. */
  readonly reason?: string;
  readonly container: MovedContainer;
}

/** What a host needs to make the container. */
export interface MovedContainer {
  readonly name: string;
  readonly image: string;
  readonly imageId: string;
  /** As in DescribedImage. */
  readonly layers: readonly string[];
  /** An image of the same name will do. */
  readonly anyImage: boolean;
  /** As Docker takes them, without what the host that makes it adds. */
  readonly config: JsonObject;
  readonly hostConfig: JsonObject;
  /** The first is the one that it was made with. */
  readonly networks: readonly MovedAttachment[];
  /** Ports of the host that it must have. */
  readonly ports: readonly MovedPort[];
  /** Its processes are restored from this folder, which both hosts see. */
  readonly checkpoint?: string;
}

export interface MovedAttachment {
  /** `undefined`: Docker's default bridge. */
  readonly tenant: string | undefined;
  /** Empty where there is none. */
  readonly ipv4: string;
  readonly ipv6: string;
  readonly aliases: readonly string[];
}

export interface MovedPort {
  /** Empty for all addresses of the host. */
  readonly ip: string;
  readonly port: number;
  readonly protocol: string;
}

/** A container has an environment of some KB; etcd takes 1.5 MB. */
const LONGEST_VALUE = 512 * 1024;
const STATES: readonly string[] = [
  'asked',
  'accepted',
  'refused',
  'wanted',
  'created',
  'stopped',
  'running',
  'failed',
  'taken-back',
] satisfies readonly MoveState[];
const LONGEST_REASON = 2_000;

/** The value of `moves/ID`. */
export function formatMove({ from, to, state, reason, container }: MoveRecord): string {
  const { networks, ...rest } = container;
  const attachments = networks.map(({ tenant, ...attachment }) => ({
    ...(tenant !== undefined && { tenant }),
    ...attachment,
  }));
  return JSON.stringify({
    from,
    to,
    state,
    ...(reason !== undefined && { reason: reason.slice(0, LONGEST_REASON) }),
    container: { ...rest, networks: attachments },
  });
}

/** Reads `moves/ID`, or says why that is impossible. */
export function parseMove(id: string, text: string): Parsed<MoveRecord> {
  return parseFields(text, LONGEST_VALUE, (fields) => {
    const container = fields.fields('container');
    if (container === undefined) throw new Error('it has no container');
    const reason = fields.optional('reason', 'a text', anyText);
    return {
      id,
      from: fields.read('from', 'the identity of a host', ofPattern(HOST_ID)),
      to: fields.read('to', 'the identity of a host', ofPattern(HOST_ID)),
      state: fields.read('state', `one of ${STATES.join(', ')}`, ofText(parseState)),
      ...(reason !== undefined && { reason }),
      container: readContainer(container),
    };
  });
}

function readContainer(fields: JsonFields): MovedContainer {
  const checkpoint = fields.optional('checkpoint', 'a path', ofPattern(/^\/./));
  return {
    name: fields.read('name', 'the name of a container', ofPattern(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,252}$/)),
    image: fields.read('image', 'the name of an image', anyText),
    imageId: fields.read('imageId', 'the ID of an image', anyText),
    layers: fields.read('layers', 'a list of digests', texts),
    anyImage: fields.read('anyImage', 'true or false', ofBoolean),
    config: fields.read('config', 'an object', ofObject),
    hostConfig: fields.read('hostConfig', 'an object', ofObject),
    networks: fields.read('networks', 'a list of networks', ofList(readAttachment)),
    ports: fields.read('ports', 'a list of ports', ofList(readPort)),
    ...(checkpoint !== undefined && { checkpoint }),
  };
}

function readAttachment(fields: JsonFields): MovedAttachment {
  const tenant = fields.optional(
    'tenant',
    'the name of a tenant',
    ofText((text) => (isTenantName(text) ? text : undefined)),
  );
  return {
    tenant,
    ipv4: fields.read('ipv4', 'a text', anyText),
    ipv6: fields.read('ipv6', 'a text', anyText),
    aliases: fields.read('aliases', 'a list of names', texts),
  };
}

const readPort = (fields: JsonFields): MovedPort => ({
  ip: fields.read('ip', 'a text', anyText),
  port: fields.read('port', 'a port', ofInteger(1, 65_535)),
  protocol: fields.read('protocol', 'a protocol', anyText),
});

const anyText = ofText((text) => text);

const texts = (value: Json): readonly string[] | undefined =>
  Array.isArray(value) ? value.filter((text) => typeof text === 'string') : undefined;

const ofObject = (value: Json): JsonObject | undefined => (isJsonObject(value) ? value : undefined);

const ofList =
  <T>(read: (fields: JsonFields) => T) =>
  (value: Json): readonly T[] | undefined =>
    Array.isArray(value) && value.every(isJsonObject)
      ? value.map((item) => read(new JsonFields(item)))
      : undefined;

const parseState = (text: string): MoveState | undefined =>
  STATES.includes(text) ? (text as MoveState) : undefined;
