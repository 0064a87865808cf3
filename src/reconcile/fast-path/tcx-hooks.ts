import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { FoundHook, HookForm, HookPlace } from '#src/reconcile/fast-path/hook-form.ts';
import { PROGRAMS } from '#src/reconcile/fast-path/load-programs.ts';
import { HOOK_DIRECTION } from '#src/state/kinds/fast-hook.ts';
import type { FastProgram } from '#src/state/object.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import type { BpfPins } from '#src/sys/bpf-pins.ts';

interface Pin {
  readonly path: string;
  readonly set: string;
  readonly program: FastProgram;
  readonly ifindex: number;
  readonly programId: number;
}

/**
 * Links of tcx (Linux 6.6). A pin in a bpffs keeps each of them: `BPFFS/weft/NAMESPACE/SET/PROGRAM@DEVICE`, with the network
 * namespace's cookie, which no other namespace ever has. All namespaces of a machine may share the bpffs.
 */
export class TcxHooks implements HookForm {
  readonly name = 'tcx';
  readonly #bpf: Bpf;
  readonly #pins: BpfPins;
  readonly #root: string;
  readonly #folder: string;

  constructor({ bpf, pins }: { readonly bpf: Bpf; readonly pins: BpfPins }, bpffs: string) {
    this.#bpf = bpf;
    this.#pins = pins;
    this.#root = `${bpffs}/weft`;
    this.#folder = `${this.#root}/${bpf.namespaceCookie()}`;
  }

  /** Whether links can be kept here. A unit's /sys may be read-only: then those that are there can be looked at, and taken off. */
  prepare(): boolean {
    try {
      this.#pins.makeFolder(this.#folder);
    } catch {
      return false;
    }
    this.#removeDead();
    return true;
  }

  async list(names: DeviceNames): Promise<FoundHook[]> {
    const found: FoundHook[] = [];
    for (const { set, program, ifindex, programId } of this.#all(this.#folder)) {
      const device = names.nameOf(ifindex);
      if (device !== undefined) found.push({ set, program, ifindex, device, programId });
    }
    return found;
  }

  async attach(place: HookPlace, program: number): Promise<void> {
    const folder = this.#folderOf(place.set);
    const [present] = this.#at(place);
    if (present !== undefined) {
      this.#using(present.path, (link) => this.#bpf.updateLink(link, program));
      return;
    }
    const link = this.#bpf.attachTcx(program, place.ifindex, HOOK_DIRECTION[place.program]);
    try {
      this.#pins.makeFolder(folder);
      // A device of the same name had one, and is gone.
      const path = `${folder}/${place.program}@${pinName(place.device)}`;
      this.#pins.remove(path);
      this.#bpf.pin(link, path);
    } finally {
      this.#bpf.close(link);
    }
  }

  async detach(place: HookPlace): Promise<void> {
    const folder = this.#folderOf(place.set);
    for (const { path } of this.#at(place)) this.#end(path);
    this.#pins.removeFolder(folder);
    this.#pins.removeFolder(this.#folder);
    this.#pins.removeFolder(this.#root);
  }

  /** By its name, if the device still has the one of then. */
  #at({ set, program, device, ifindex }: HookPlace): Pin[] {
    const folder = this.#folderOf(set);
    const isIt = (pin: Pin) => pin.ifindex === ifindex;
    const named = this.#in(folder, set, [`${program}@${pinName(device)}`]).filter(isIt);
    if (named.length > 0) return named;
    const names = this.#pins.names(folder).filter((name) => name.startsWith(`${program}@`));
    return this.#in(folder, set, names).filter(isIt);
  }

  /** A name that can't be removed is left as that of a link without a device. */
  #end(path: string): void {
    this.#using(path, (link) => this.#bpf.detachLink(link));
    this.#removeName(path);
  }

  #removeName(path: string): void {
    try {
      this.#pins.remove(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EROFS') throw error;
    }
  }

  /** Pins outlive a network namespace whose devices, and links with them, are gone. */
  #removeDead(): void {
    for (const name of this.#pins.names(this.#root)) {
      const folder = `${this.#root}/${name}`;
      if (folder === this.#folder) continue;
      this.#all(folder);
      for (const set of this.#pins.names(folder)) this.#pins.removeFolder(`${folder}/${set}`);
      this.#pins.removeFolder(folder);
    }
  }

  #all(folder: string): Pin[] {
    return this.#pins.names(folder).flatMap((set) => this.#in(`${folder}/${set}`, set.replaceAll(':', '.')));
  }

  /** The links of a set. A link whose device is gone is nothing any more. */
  #in(folder: string, set: string, names = this.#pins.names(folder)): Pin[] {
    const pins: Pin[] = [];
    for (const name of names) {
      const [known] = PROGRAMS.find(([program]) => name.startsWith(`${program}@`)) ?? [];
      if (known === undefined) continue;
      const path = `${folder}/${name}`;
      const info = this.#using(path, (link) => this.#bpf.linkInfo(link));
      if (info === undefined) continue;
      if (info.ifindex === 0) this.#removeName(path);
      else pins.push({ path, set, program: known, ...info });
    }
    return pins;
  }

  /** `undefined` when somebody has removed the pin meanwhile. */
  #using<T>(path: string, work: (link: number) => T): T | undefined {
    let link: number;
    try {
      link = this.#bpf.openPin(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      return work(link);
    } finally {
      this.#bpf.close(link);
    }
  }

  #folderOf(set: string): string {
    return `${this.#folder}/${pinName(set)}`;
  }
}

/** A bpffs takes no dots, and a device's name has no colons. */
export const pinName = (device: string): string => device.replaceAll(DOT, ':');

const DOT = /\./g;
