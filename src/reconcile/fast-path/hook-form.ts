import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { FastProgram } from '#src/state/object.ts';

/** Where a program is, or is to be. */
export interface HookPlace {
  readonly set: string;
  readonly device: string;
  readonly ifindex: number;
  readonly program: FastProgram;
}

export interface FoundHook extends HookPlace {
  /** The kernel's number of the program that is attached. */
  readonly programId: number;
}

/** How programs are attached to devices, so that they stay when weft ends. Failures are thrown, with the errno as `code`. */
export interface HookForm {
  readonly name: 'tcx' | 'clsact';
  /** All hooks of weft in this network namespace. */
  list(names: DeviceNames): Promise<FoundHook[]>;
  /** Attaches the program, or puts it in the place of the one that is there, between two packets. */
  attach(place: HookPlace, program: number): Promise<void>;
  /** None is fine. */
  detach(place: HookPlace): Promise<void>;
}
