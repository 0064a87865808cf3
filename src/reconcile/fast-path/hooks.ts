import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { ClsactHooks } from '#src/reconcile/fast-path/clsact-hooks.ts';
import type { FoundHook, HookForm, HookPlace } from '#src/reconcile/fast-path/hook-form.ts';
import { TcxHooks } from '#src/reconcile/fast-path/tcx-hooks.ts';
import type { FastProgram } from '#src/state/object.ts';
import type { Bpf } from '#src/sys/bpf.ts';
import type { BpfPins } from '#src/sys/bpf-pins.ts';
import type { Clock } from '#src/sys/clock.ts';

export type FormName = HookForm['name'];

export interface HooksComponents {
  readonly bpf: Bpf;
  readonly pins: BpfPins;
  readonly client: RtnetlinkClient;
  readonly clock: Clock;
}

export interface HooksOptions {
  /** Where a bpffs is mounted. */
  readonly bpffs: string;
  /** In place of the choice by what the host has. */
  readonly form?: FormName | undefined;
}

/** A found hook, and whether it is in the form that is chosen for its place. */
export interface FormedHook extends FoundHook {
  readonly isFormed: boolean;
}

/**
 * Programs of which there are two for each container. A tcx link takes the kernel 10 to 15 ms under a lock that Docker waits
 * for, too, and its pin outlives the device. So they are filters, except on a device without clsact, of a container that runs by
 * now: the qdisc would cost it packets, and a link costs none.
 */
const OF_CONTAINERS: readonly FastProgram[] = ['from-container', 'note-in'];

/**
 * Hooks in the form that this host has: on the underlay, the VXLAN device and containers that run already tcx, where the kernel has
 * it and a bpffs keeps links, and clsact else. Those of the other form, of a weft that chose otherwise, are found and replaced, too.
 *
 * tcx without a link (BPF_PROG_ATTACH) needs no bpffs. But a weft with fewer rights could not take it off: that needs the system
 * call bpf, and CAP_SYS_ADMIN to see whose program it is (bpf_prog_get_fd_by_id in kernel/bpf/syscall.c).
 */
export class Hooks {
  readonly form: FormName;
  /** Also where none can be kept: there may be some of an earlier run. */
  readonly #tcx: HookForm | undefined;
  readonly #clsact: ClsactHooks;
  readonly #bpf: Bpf;
  /** The filters, as long as the kernel reports no change of any by others. Pins of tcx are read each time. */
  #filters: readonly FoundHook[] | undefined;
  /** Devices with a qdisc clsact, for as long. */
  #prepared: Set<number> | undefined;

  constructor({ bpf, pins, client, clock }: HooksComponents, { bpffs, form }: HooksOptions) {
    this.#bpf = bpf;
    this.#clsact = new ClsactHooks(client, clock);
    const tcx = pins.isBpffs(bpffs) && hasTcx(bpf) ? new TcxHooks({ bpf, pins }, bpffs) : undefined;
    this.#tcx = tcx;
    const canKeep = tcx?.prepare() === true;
    if (form === 'tcx' && !canKeep)
      throw new TypeError(`this kernel has no tcx, or no bpffs that can be written at ${bpffs}`);
    this.form = form ?? (canKeep ? 'tcx' : 'clsact');
  }

  /** To be called after an event of RTNLGRP_TC, and before a look at all there is. */
  forgetFilters(): void {
    this.#filters = undefined;
    this.#prepared = undefined;
  }

  async list(names: DeviceNames): Promise<FormedHook[]> {
    this.#filters ??= await this.#clsact.list(names);
    const links = (await this.#tcx?.list(names)) ?? [];
    const filtered = new Set(this.#filters.map(keyOf));
    const isFormed = (form: FormName, hook: FoundHook): boolean =>
      this.form === 'tcx' && OF_CONTAINERS.includes(hook.program)
        ? form === 'clsact' || !filtered.has(keyOf(hook))
        : form === this.form;
    const all = [
      ...this.#filters.map((hook) => ({ ...hook, isFormed: isFormed('clsact', hook) })),
      ...links.map((hook) => ({ ...hook, isFormed: isFormed('tcx', hook) })),
    ];
    // A device may have gone since, and its filters with it.
    return all.filter(({ ifindex, device }) => names.nameOf(ifindex) === device);
  }

  /** Makes a container's device ready: see {@link ClsactHooks.prepare}. */
  prepare(ifindex: number): void {
    this.#clsact.prepare(ifindex);
    this.#prepared?.add(ifindex);
  }

  async attach(place: HookPlace, program: number): Promise<void> {
    const form = await this.#formOf(place);
    await form.attach(place, program);
    if (form === this.#clsact) this.#prepared?.add(place.ifindex);
    await this.#besides(form)?.detach(place);
    const { id: programId } = this.#bpf.programInfo(program);
    this.#noteFilter(place, form === this.#clsact ? [{ ...place, programId }] : []);
  }

  async detach(place: HookPlace): Promise<void> {
    await this.#clsact.detach(place);
    await this.#tcx?.detach(place);
    this.#noteFilter(place, []);
  }

  /** What is at the place now. */
  #noteFilter({ set, program, ifindex }: HookPlace, now: readonly FoundHook[]): void {
    const others = this.#filters?.filter(
      (hook) => hook.ifindex !== ifindex || hook.program !== program || hook.set !== set,
    );
    this.#filters = others && [...others, ...now];
  }

  /** That a new hook gets. */
  async #formOf({ program, ifindex }: HookPlace): Promise<HookForm> {
    if (this.form === 'clsact' || this.#tcx === undefined) return this.#clsact;
    if (!OF_CONTAINERS.includes(program)) return this.#tcx;
    this.#prepared ??= await this.#clsact.devices();
    return this.#prepared.has(ifindex) ? this.#clsact : this.#tcx;
  }

  #besides(form: HookForm): HookForm | undefined {
    return form === this.#clsact ? this.#tcx : this.#clsact;
  }
}

const keyOf = ({ set, ifindex, program }: HookPlace): string => `${set} ${ifindex} ${program}`;

/** False also where no program may be loaded. */
function hasTcx(bpf: Bpf): boolean {
  let program: number;
  try {
    program = bpf.loadClassifier('weft_try', RETURN_NOTHING, 'GPL');
  } catch {
    return false;
  }
  try {
    bpf.close(bpf.attachTcx(program, NO_DEVICE, 'ingress'));
    return true;
  } catch (error) {
    // What has tcx misses the device, and what has not knows no such attachment.
    return (error as NodeJS.ErrnoException).code === 'ENODEV';
  } finally {
    bpf.close(program);
  }
}

/** `r0 = 0; exit` */
const RETURN_NOTHING = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
const NO_DEVICE = 0x7fffffff;
