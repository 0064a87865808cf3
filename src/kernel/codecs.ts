import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { isList, type KindCodec, type Names, type Read } from '#src/kernel/kind-codec.ts';
import { ADDRESS_CODEC } from '#src/kernel/kinds/address.ts';
import { BRIDGE_FDB_CODEC } from '#src/kernel/kinds/bridge-fdb.ts';
import { BRIDGE_PORT_CODEC } from '#src/kernel/kinds/bridge-port.ts';
import { BRIDGE_VLAN_CODEC } from '#src/kernel/kinds/bridge-vlan.ts';
import { FDB_CODEC } from '#src/kernel/kinds/fdb.ts';
import { LINK_CODEC } from '#src/kernel/kinds/link.ts';
import { NEIGHBOUR_CODEC } from '#src/kernel/kinds/neighbour.ts';
import { ROUTE_CODEC } from '#src/kernel/kinds/route.ts';
import { VNI_CODEC } from '#src/kernel/kinds/vni.ts';
import type { Message, Request } from '#src/kernel/message.ts';
import type { StateObject } from '#src/state/kind.ts';
import { Kinds } from '#src/state/kinds.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError, Operation } from '#src/state/operation.ts';

type AnyCodec = KindCodec<KernelObject>;

/** The kinds that rtnetlink carries, and the tables that follow from them. */
export class Codecs {
  readonly kinds: Kinds<KernelObject>;
  /** The groups whose messages {@link readEvent} reads. */
  readonly groups: readonly number[];
  /** Messages of our own changes that need not be heard: an operation's result is all there is to know. */
  readonly echoTypes: readonly number[];
  readonly #byKind: ReadonlyMap<string, AnyCodec>;
  readonly #byType = new Map<number, { readonly codec: AnyCodec; readonly type: 'changed' | 'removed' }[]>();

  constructor(codecs: readonly AnyCodec[]) {
    this.kinds = new Kinds(codecs.map(({ kind }) => kind));
    this.groups = [...new Set(codecs.flatMap(({ groups }) => groups))];
    const unheard = codecs.filter(({ isEchoHeard }) => !isEchoHeard);
    this.echoTypes = [...new Set(unheard.flatMap(({ changed, removed }) => [changed, removed]))];
    this.#byKind = new Map(codecs.map((codec) => [codec.kind.name, codec]));
    for (const codec of codecs) {
      for (const type of ['changed', 'removed'] as const) {
        const readers = this.#byType.get(codec[type]) ?? [];
        this.#byType.set(codec[type], [...readers, { codec, type }]);
      }
    }
  }

  /** The codec of a kind's name; throws a TypeError when rtnetlink does not carry the kind. */
  of(kind: StateObject['kind']): AnyCodec {
    const codec = this.#byKind.get(kind);
    if (codec === undefined) throw new TypeError(`rtnetlink has no kind "${kind}"`);
    return codec;
  }

  /** The event in a message of the groups, or the events; `undefined` for a message that is nothing to weft. */
  readEvent(message: Message, names: Names): Read<KernelEvent> {
    for (const { codec, type } of this.#byType.get(message.type) ?? []) {
      const read = codec.read(message, names);
      if (read === undefined) continue;
      if (isList(read)) return read.map((object) => ({ type, object }));
      return { type: codec.isGone?.(read) ? 'removed' : type, object: read };
    }
    return undefined;
  }

  /** The operation as a message, or why there is none. */
  requestOf(
    operation: Operation,
    names: DeviceNames,
  ): { readonly request: Request } | { readonly error: KernelError } {
    const { verb, object } = operation;
    const codec = this.of(object.kind);
    const request = codec.encode(operation, names);
    if (request === 'unsupported')
      return { error: { errno: 'EOPNOTSUPP', message: `a ${object.kind} has no ${verb}` } };
    if (request !== undefined) return 'errno' in request ? { error: request } : { request };
    return { error: { errno: 'ENODEV', message: `there is no device ${codec.missingDevice(object)}` } };
  }
}

/** The kinds that weft handles through rtnetlink. A new kind is a line here. */
export const CODECS: readonly AnyCodec[] = [
  LINK_CODEC,
  ADDRESS_CODEC,
  ROUTE_CODEC,
  NEIGHBOUR_CODEC,
  FDB_CODEC,
  BRIDGE_PORT_CODEC,
  BRIDGE_FDB_CODEC,
  BRIDGE_VLAN_CODEC,
  VNI_CODEC,
];

export const RTNETLINK_CODECS = new Codecs(CODECS);
