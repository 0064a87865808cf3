import type { Operation, Verb } from '#src/state/operation.ts';

/** The least that all kernel state has in common. */
export interface StateObject {
  /** The name of its {@link Kind}. */
  readonly kind: string;
}

/** A value of the object that differs between most slots of its kind. No text is made for it. */
export type SlotHash = number | bigint | string;

/**
 * When the turn of an operation that makes something is: with the others of its kind; after these, for what needs another
 * object of the kind; or after all kinds.
 */
export type Stage = 'made' | 'joined' | 'last';

/**
 * One kind of kernel state: all that is known of its objects without asking a machine. A new kind is a file in
 * `state/kinds/`, a codec for the actuator that carries it (rtnetlink: `kernel/kinds/`), and a line in each of the two
 * tables (`state/object.ts`, `kernel/codecs.ts`).
 */
export interface Kind<T extends StateObject> {
  readonly name: T['kind'];
  /** Its place in the order in which things are made. What is removed goes in the opposite order. */
  readonly rank: number;
  /** Other objects are on it, and it is removed before anything is made: a device that has to be made again. */
  readonly isDevice: boolean;
  /** Whether it can be removed by itself. What comes and goes with something else is only ever set. */
  readonly isRemovable: boolean;

  /** The slot's name. What has the same key is in the same slot: adding one object replaces the other. */
  key(object: T): string;
  /** Whether two objects have the same key, without making it: there may be 150,000 of them. */
  sharesSlot(a: T, b: T): boolean;
  /** Equal for objects that share a slot. */
  hash(object: T): SlotHash;

  /** How what was found differs from what is wanted, one text for each field: `mtu: 1400, wanted 1450`. Empty when it is as wanted. */
  differences(wanted: T, found: T): string[];
  /** Whether there are no differences, without putting them into words: nearly always there are none. */
  isAsWanted(wanted: T, found: T): boolean;
  /** Differences that nothing mends in place: the object has to be removed and made again. */
  mustRecreate(wanted: T, found: T): string[];
  /** Whether a removal that names one object means the one in the slot: the kernel may say so of what was replaced before. */
  isTarget(found: T, named: T): boolean;
  /** The operations that put what is wanted into a slot that is not as wanted, where one `replace` is not all. */
  operations?(wanted: T, found: T | undefined): Operation<T>[];
  /** The turn of one of these. `found`: what is in the slot. */
  stage(operation: Operation<T>, found: T | undefined): Stage;
  /**
   * What the kernel takes along with this change of the object, and does not report. `found` is what was known before, `now`
   * is `undefined` when the object was removed, `wanted` is what is wanted in the slot.
   */
  takesAlong(found: T | undefined, now: T | undefined, wanted?: T): TakenAlong | undefined;
  /** Whether something that the kernel refused before may succeed after this change. */
  opensWay(found: T | undefined, now: T): boolean;

  /** The device that the object is on, or is. */
  deviceOf(object: T): string | undefined;
  /** Devices without which it can't be made. An event of one ends the pause after a failure. */
  devicesNeeded(object: T): readonly string[];
  /** The object in iproute2's words. */
  format(object: T): string;
  /** The command that the operation equals, fit to be pasted into a shell. */
  command(verb: Verb, object: T): string;
}

/** Objects on the same device: those of some kinds, or all of them. `any`: objects on other devices, too. */
export type TakenAlong = readonly StateObject['kind'][] | 'all' | 'any';

type Defaults =
  | 'isDevice'
  | 'isRemovable'
  | 'isAsWanted'
  | 'mustRecreate'
  | 'isTarget'
  | 'operations'
  | 'stage'
  | 'takesAlong'
  | 'opensWay'
  | 'devicesNeeded';
/** A kind without what most kinds have in common. */
export type KindParts<T extends StateObject> = Omit<Kind<T>, Defaults> & Partial<Pick<Kind<T>, Defaults>>;

/** Fills in what most kinds have in common. All kinds have one shape in V8, so that calls through them stay fast. */
export function kindOf<T extends StateObject>(parts: KindParts<T>): Kind<T> {
  const { differences, deviceOf } = parts;
  return {
    name: parts.name,
    rank: parts.rank,
    isDevice: parts.isDevice ?? false,
    isRemovable: parts.isRemovable ?? true,
    key: parts.key,
    sharesSlot: parts.sharesSlot,
    hash: parts.hash,
    differences,
    isAsWanted: parts.isAsWanted ?? ((wanted, found) => differences(wanted, found).length === 0),
    mustRecreate: parts.mustRecreate ?? (() => []),
    isTarget: parts.isTarget ?? (() => true),
    ...(parts.operations !== undefined && { operations: parts.operations }),
    stage: parts.stage ?? (() => 'made'),
    takesAlong: parts.takesAlong ?? (() => undefined),
    opensWay: parts.opensWay ?? (() => false),
    deviceOf,
    devicesNeeded:
      parts.devicesNeeded ??
      ((object) => {
        const device = deviceOf(object);
        return device === undefined ? [] : [device];
      }),
    format: parts.format,
    command: parts.command,
  };
}

/** An address as a hash: a signed 32-bit number, which V8 holds in a map itself; above 2^31 an unsigned one would be an object. */
export const addressHash = (address: number | bigint): number | bigint =>
  typeof address === 'number' ? address | 0 : address;
