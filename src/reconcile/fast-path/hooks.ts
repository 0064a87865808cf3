import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { ClsactHooks } from '#src/reconcile/fast-path/clsact-hooks.ts';
import type { FoundHook, HookForm, HookPlace } from '#src/reconcile/fast-path/hook-form.ts';
import { TcxHooks } from '#src/reconcile/fast-path/tcx-hooks.ts';
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

/** A found hook, and whether it is of the form in use. */
export interface FormedHook extends FoundHook {
  readonly form: FormName;
}

/**
 * Hooks in the form that this host has: tcx where the kernel has it and a bpffs keeps links, clsact else. Those of the other form,
 * of a weft that chose otherwise, are found and replaced, too.
 */
export class Hooks {
  readonly form: FormName;
  readonly #used: HookForm;
  readonly #other: HookForm | undefined;

  constructor({ bpf, pins, client, clock }: HooksComponents, { bpffs, form }: HooksOptions) {
    const clsact = new ClsactHooks(client, clock);
    const tcx = pins.isBpffs(bpffs) ? tcxOf({ bpf, pins }, bpffs) : undefined;
    if (form === 'tcx' && tcx === undefined)
      throw new TypeError(`this kernel has no tcx, or no bpffs at ${bpffs}`);
    const usesTcx = tcx !== undefined && form !== 'clsact';
    this.#used = usesTcx ? tcx : clsact;
    this.#other = usesTcx ? clsact : tcx;
    this.form = this.#used.name;
  }

  /** All of them, or only those of the form in use: others come from before this start. */
  async list(names: DeviceNames, { alsoOther = false } = {}): Promise<FormedHook[]> {
    const found: FormedHook[] = [];
    for (const form of alsoOther ? [this.#used, this.#other] : [this.#used])
      for (const hook of (await form?.list(names)) ?? [])
        found.push({ ...hook, form: form?.name ?? this.form });
    return found;
  }

  async attach(place: HookPlace, program: number): Promise<void> {
    await this.#used.attach(place, program);
    await this.#other?.detach(place);
  }

  async detach(place: HookPlace): Promise<void> {
    await this.#used.detach(place);
    await this.#other?.detach(place);
  }
}

/** `undefined` where the kernel has no tcx, or nothing can be pinned: a unit's /sys may be read-only. */
function tcxOf(
  components: { readonly bpf: Bpf; readonly pins: BpfPins },
  bpffs: string,
): TcxHooks | undefined {
  const { bpf } = components;
  try {
    const program = bpf.loadClassifier('weft_try', RETURN_NOTHING, 'GPL');
    try {
      bpf.close(bpf.attachTcx(program, NO_DEVICE, 'ingress'));
    } catch (error) {
      // What has tcx misses the device, and what has not knows no such attachment.
      if ((error as NodeJS.ErrnoException).code !== 'ENODEV') return undefined;
    } finally {
      bpf.close(program);
    }
    const hooks = new TcxHooks(components, bpffs);
    hooks.prepare();
    return hooks;
  } catch {
    return undefined;
  }
}

/** `r0 = 0; exit` */
const RETURN_NOTHING = Uint8Array.of(0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0);
const NO_DEVICE = 0x7fffffff;
