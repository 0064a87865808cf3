import type { FastMap } from '#src/fast-path/map-layouts.ts';
import { type BpfObject, linkProgram, readBpfObject } from '#src/kernel/bpf/bpf-object.ts';
import type { FastProgram } from '#src/state/object.ts';
import type { Bpf, BpfProgramInfo } from '#src/sys/bpf.ts';

export type FastMaps = Readonly<Record<FastMap, number>>;

/** A loaded program. */
export interface LoadedProgram {
  readonly fd: number;
  readonly info: BpfProgramInfo;
}

export type LoadedPrograms = ReadonlyMap<FastProgram, LoadedProgram>;

/** Every program by its name here and in fast-path.bpf.c, where names have no hyphens. */
export const PROGRAMS: readonly (readonly [program: FastProgram, name: string])[] = [
  ['from-container', 'from_container'],
  ['from-wire', 'from_wire'],
  ['note-out', 'note_out'],
  ['note-in', 'note_in'],
];

/** The compiled programs. A host without a fast path does not read them. */
export async function readPrograms(): Promise<BpfObject> {
  const { FAST_PATH_PROGRAM } = await import('#src/fast-path/fast-path-program.ts');
  return readBpfObject(Buffer.from(FAST_PATH_PROGRAM, 'base64'));
}

/** Loads the four programs with these maps: the verifier reads them. Throws the kernel's reason, and leaves nothing. */
export function loadPrograms(bpf: Bpf, object: BpfObject, maps: FastMaps): LoadedPrograms {
  const loaded = new Map<FastProgram, LoadedProgram>();
  try {
    for (const [program, name] of PROGRAMS) {
      const section = object.programs.get(name);
      if (section === undefined) throw new TypeError(`the BPF object has no program ${name}`);
      const fd = bpf.loadClassifier(`weft_${name}`, linkProgram(section, maps), object.license);
      loaded.set(program, { fd, info: bpf.programInfo(fd) });
    }
  } catch (error) {
    closePrograms(bpf, loaded);
    throw error;
  }
  return loaded;
}

export function closePrograms(bpf: Bpf, programs: LoadedPrograms): void {
  for (const { fd } of programs.values()) bpf.close(fd);
}
