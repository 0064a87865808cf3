import type { KernelEvent } from '#src/kernel/kernel.ts';

/** The kernel speaks of devices by ifindex, weft by name; `undefined` when there is no such device (any more). */
export interface DeviceNames {
  indexOf(name: string): number | undefined;
  nameOf(index: number): string | undefined;
  /** Whether a device is a bridge: what is said of its own VLANs needs a flag. */
  isBridge?(name: string): boolean;
  /** An open file of another network namespace, by its path. Absent where links reach into none. */
  fileOf?(namespace: string): number | undefined;
  /** The nsid of the host's namespace in the one that is programmed; `undefined` when that is the host's itself. */
  hostId?(): number | undefined;
}

/** Asks the kernel for one device. */
export type FindDevice = (
  device: string | number,
) => { readonly name: string; readonly index: number; readonly type?: string } | undefined;

/** Other network namespaces, as the kernel of one namespace names them. */
export interface OtherNamespaces {
  /** Opens a namespace's file; `undefined` when there is no such namespace. */
  open(namespace: string): number | undefined;
  close(file: number): void;
  hostId(): number | undefined;
}

/**
 * The kernel's present names and indexes, each asked for once. Meant to live as long as one step of work: a device may be renamed,
 * or deleted and made again, at any time, and an old answer would then name the wrong one.
 */
export class DeviceLookup implements DeviceNames {
  readonly #find: FindDevice;
  readonly #findIndex: (name: string) => number | undefined;
  readonly #indexes = new Map<string, number | undefined>();
  readonly #names = new Map<number, string | undefined>();
  readonly #others: OtherNamespaces | undefined;
  readonly #files: number[] = [];

  /** `findIndex`: a cheaper way to an index, where there is one. */
  constructor(
    find: FindDevice,
    others?: OtherNamespaces,
    findIndex: (name: string) => number | undefined = (name) => find(name)?.index,
  ) {
    this.#find = find;
    this.#others = others;
    this.#findIndex = findIndex;
  }

  indexOf(name: string): number | undefined {
    if (!this.#indexes.has(name)) this.#indexes.set(name, this.#findIndex(name));
    return this.#indexes.get(name);
  }

  nameOf(index: number): string | undefined {
    if (!this.#names.has(index)) this.#names.set(index, this.#find(index)?.name);
    return this.#names.get(index);
  }

  isBridge(name: string): boolean {
    return this.#find(name)?.type === 'bridge';
  }

  fileOf(namespace: string): number | undefined {
    const file = this.#others?.open(namespace);
    if (file !== undefined) this.#files.push(file);
    return file;
  }

  hostId(): number | undefined {
    return this.#others?.hostId();
  }

  /** Closes the files: when the kernel has done what they were for. */
  close(): void {
    for (const file of this.#files.splice(0)) this.#others?.close(file);
  }
}

/**
 * Names for the indexes in events, kept up to date by the link events among them: a device's last events come when
 * the kernel no longer knows it.
 */
export class DeviceTable {
  readonly #find: FindDevice;
  readonly #names = new Map<number, string>();
  readonly #others: OtherNamespaces | undefined;

  constructor(find: FindDevice, others?: OtherNamespaces) {
    this.#find = find;
    this.#others = others;
  }

  /** Keeps the names up to date with an event. */
  follow(event: KernelEvent): void {
    if (event.type !== 'changed' && event.type !== 'removed') return;
    const { object } = event;
    if (object.kind !== 'link' || object.index === undefined) return;
    if (event.type === 'changed') this.#names.set(object.index, object.name);
    else this.#names.delete(object.index);
  }

  nameOf(index: number): string | undefined {
    return this.#names.get(index) ?? this.#find(index)?.name;
  }

  hostId(): number | undefined {
    return this.#others?.hostId();
  }
}
