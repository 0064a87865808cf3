import { GoObject, isJsonObject } from '#src/network/go-json.ts';

/** `Backend` of a network config. */
export interface BackendConfig {
  /** Lower case, as the backends are looked up. */
  readonly type: string;
  /** The backend's own options. */
  readonly options: GoObject;
}

/** The backend that a member of the object names. Throws WeftError `config`. */
export function readBackendOf(config: GoObject, name = 'Backend'): BackendConfig {
  const given = config.raw(name);
  if (given !== undefined && given !== null && !isJsonObject(given))
    throw config.error(name, 'error decoding Backend property of config: it is not an object');
  // null is an object without a type, as flannel reads it.
  const options = config.object(name);
  // Both versions fall back to udp, although their documentation names vxlan.
  if (options === undefined) return { type: 'udp', options: new GoObject({}) };
  return { type: (options.string('Type') ?? '').toLowerCase(), options };
}
