import {
  COUNTS,
  decodeLocal,
  decodePeer,
  decodeSettings,
  encodeLocal,
  encodePeer,
  encodeSettings,
  type FastCounts,
  localKey,
  MAPS,
  type MapEntry,
  nextEdition,
  peerKey,
} from '#src/fast-path/map-layouts.ts';
import type { BpfObject } from '#src/kernel/bpf/bpf-object.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { KernelEvent } from '#src/kernel/kernel.ts';
import { closeMaps } from '#src/reconcile/fast-path/fast-maps.ts';
import type { FoundHook } from '#src/reconcile/fast-path/hook-form.ts';
import {
  closePrograms,
  type FastMaps,
  type LoadedPrograms,
  loadPrograms,
} from '#src/reconcile/fast-path/load-programs.ts';
import { WatchedMap } from '#src/reconcile/fast-path/watched-map.ts';
import type { FastLocal, FastPath, FastPeer, FastProgram, KernelObject } from '#src/state/object.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import type { TurnBudget } from '#src/sys/turn-budget.ts';

/** The maps and programs of one network's fast path. They live as long as a hook has them, or this. */
export class FastSet {
  readonly name: string;
  readonly #bpf: Bpf;
  readonly #maps: FastMaps;
  readonly #programs: LoadedPrograms;
  readonly #mapIds: ReadonlySet<number>;
  readonly #settings: WatchedMap;
  readonly #peers: WatchedMap;
  readonly #locals: WatchedMap;
  /** By the number of a program in the kernel: numbers come again after two thousand millions. */
  readonly #judged = new Map<number, FastProgram | 'foreign'>();

  /** The maps are the set's from now on. Throws the kernel's reason, and the maps are closed. */
  constructor(bpf: Bpf, object: BpfObject, name: string, maps: FastMaps) {
    this.name = name;
    this.#bpf = bpf;
    this.#maps = maps;
    try {
      this.#programs = loadPrograms(bpf, object, maps);
    } catch (error) {
      closeMaps(bpf, maps);
      throw error;
    }
    this.#mapIds = new Set(Object.values(maps).map((fd) => bpf.mapInfo(fd).id));
    this.#settings = new WatchedMap(maps.settings, MAPS.settings);
    this.#peers = new WatchedMap(maps.peers, MAPS.peers);
    this.#locals = new WatchedMap(maps.locals, MAPS.locals);
  }

  programFd(program: FastProgram): number {
    const loaded = this.#programs.get(program);
    if (loaded === undefined) throw new TypeError(`${program} is not loaded`);
    return loaded.fd;
  }

  /** Whether the hook's program has these instructions and works on these maps. */
  isCurrent({ program, programId }: FoundHook): boolean {
    let judged = this.#judged.get(programId);
    if (judged === undefined) {
      judged = this.#judge(programId);
      this.#judged.set(programId, judged);
    }
    return judged === program;
  }

  #judge(programId: number): FastProgram | 'foreign' {
    for (const [program, { info }] of this.#programs) if (info.id === programId) return program;
    // Without CAP_SYS_ADMIN nobody's programs can be looked at but one's own: an earlier run's are replaced then.
    const fd = this.#bpf.programById(programId);
    if (fd === undefined) return 'foreign';
    try {
      const { tag, mapIds } = this.#bpf.programInfo(fd);
      for (const [program, { info }] of this.#programs)
        if (info.tag === tag && mapIds.every((id) => this.#mapIds.has(id))) return program;
      return 'foreign';
    } finally {
      this.#bpf.close(fd);
    }
  }

  setPath(path: FastPath, ifindexes: { readonly underlay: number; readonly tunnel: number }): void {
    const entry = encodeSettings(path, ifindexes);
    this.#bpf.update(this.#maps.settings, entry);
    this.#settings.note(entry);
  }

  /** The kill switch: whatever is still attached leaves every packet alone. */
  switchOff(): void {
    const entry = {
      key: new Uint8Array(MAPS.settings.keySize),
      value: new Uint8Array(MAPS.settings.valueSize),
    };
    this.#bpf.update(this.#maps.settings, entry);
    this.#settings.note(entry);
  }

  setPeers(peers: readonly FastPeer[]): void {
    const entries = peers.map(encodePeer);
    try {
      this.#bpf.updateAll(this.#maps.peers, entries);
    } finally {
      this.#beginEdition();
    }
    for (const entry of entries) this.#peers.note(entry);
  }

  removePeer(peer: FastPeer): void {
    this.#bpf.delete(this.#maps.peers, peerKey(peer));
    this.#beginEdition();
    this.#peers.forget(peerKey(peer));
  }

  setLocal(local: FastLocal, ifindex: number): void {
    const entry = encodeLocal(local, ifindex);
    this.#bpf.update(this.#maps.locals, entry);
    this.#beginEdition();
    this.#locals.note(entry);
  }

  removeLocal(local: FastLocal): void {
    this.#bpf.delete(this.#maps.locals, localKey(local));
    this.#beginEdition();
    this.#locals.forget(localKey(local));
  }

  /** What the programs remember of peers and containers holds for one edition of these maps. */
  #beginEdition(): void {
    const { keySize, valueSize } = MAPS.edition;
    const now = this.#bpf.lookup(this.#maps.edition, new Uint8Array(keySize), valueSize);
    this.#bpf.update(this.#maps.edition, nextEdition(now));
  }

  /** Calls back with what is in the maps. */
  async list(
    kinds: readonly KernelObject['kind'][],
    names: DeviceNames,
    budget: TurnBudget,
    visit: (object: KernelObject) => void,
  ): Promise<void> {
    const nameOf = namer(names);
    if (kinds.includes('fast-path'))
      await this.#settings.list(this.#bpf, budget, ({ value }) => {
        const path = decodeSettings(this.name, value, nameOf);
        if (path !== undefined) visit(path);
      });
    if (kinds.includes('fast-peer'))
      await this.#peers.list(this.#bpf, budget, (entry) => visit(decodePeer(this.name, entry)));
    if (kinds.includes('fast-local'))
      await this.#locals.list(this.#bpf, budget, (entry) => visit(decodeLocal(this.name, entry, nameOf)));
  }

  /** Calls back with what others have changed in the maps. */
  async lookForChanges(
    names: DeviceNames,
    budget: TurnBudget,
    listener: (event: KernelEvent) => void,
  ): Promise<void> {
    const nameOf = namer(names);
    await this.#settings.compare(
      this.#bpf,
      budget,
      ({ value }) => {
        const path = decodeSettings(this.name, value, nameOf);
        // An array's entry can't be removed: what was emptied is gone.
        if (path !== undefined) listener({ type: 'changed', object: path });
        else listener({ type: 'removed', object: goneSettings(this.name) });
      },
      () => {},
    );
    await this.#compare(this.#peers, budget, (entry) => decodePeer(this.name, entry), listener);
    await this.#compare(this.#locals, budget, (entry) => decodeLocal(this.name, entry, nameOf), listener);
  }

  #compare(
    map: WatchedMap,
    budget: TurnBudget,
    decode: (entry: MapEntry) => KernelObject,
    listener: (event: KernelEvent) => void,
  ): Promise<void> {
    return map.compare(
      this.#bpf,
      budget,
      (entry) => listener({ type: 'changed', object: decode(entry) }),
      (entry) => listener({ type: 'removed', object: decode(entry) }),
    );
  }

  counts(): FastCounts {
    const key = new Uint8Array(MAPS.counts.keySize);
    const entries = COUNTS.map((name, index) => {
      new DataView(key.buffer).setUint32(0, index, true);
      return [name, this.#bpf.sumOfProcessors(this.#maps.counts, key)] as const;
    });
    return Object.fromEntries(entries) as FastCounts;
  }

  /** What is attached stays. */
  close(): void {
    closePrograms(this.#bpf, this.#programs);
    closeMaps(this.#bpf, this.#maps);
  }
}

/** A device that is gone has a number only. */
const namer =
  (names: DeviceNames) =>
  (ifindex: number): string =>
    names.nameOf(ifindex) ?? `#${ifindex}`;

/** Named by its slot: nothing else is known of it any more. */
const goneSettings = (set: string): FastPath =>
  ({
    kind: 'fast-path',
    set,
    underlay: '',
    vtep: 0,
    mac: '00:00:00:00:00:00',
    vni: 0,
    port: 0,
    freshMs: 0,
    tcp: false,
    generation: 0,
  }) as FastPath;
