/** The programs of a release's one executable: where each begins in `src/cli/`, and by which names it is called. */
export const RELEASE_PROGRAMS = {
  weft: { entry: 'weft.ts', names: ['weft'] },
  flanneld: { entry: 'flanneld.ts', names: ['flanneld'] },
  // flannel has it as a shell script, and units have that name.
  'mk-docker-opts': { entry: 'mk-docker-opts.ts', names: ['mk-docker-opts', 'mk-docker-opts.sh'] },
  // systemd runs it as a generator.
  'weft-generator': { entry: 'weft-generator.ts', names: ['weft-generator'] },
} as const satisfies Record<string, { readonly entry: string; readonly names: readonly string[] }>;

export type ReleaseProgram = keyof typeof RELEASE_PROGRAMS;

/** The executable's own name. */
export const EXECUTABLE = 'weft';

/** The links beside it. */
export const LINKS: readonly string[] = Object.values(RELEASE_PROGRAMS)
  .flatMap(({ names }): readonly string[] => names)
  .filter((name) => name !== EXECUTABLE);

/** The program that is meant by `argv[0]`, a path or a name. The executable under a name of no program is `weft`. */
export function programOf(argv0: string): ReleaseProgram {
  const name = argv0.slice(argv0.lastIndexOf('/') + 1);
  for (const [program, { names }] of Object.entries(RELEASE_PROGRAMS)) {
    if (names.some((known) => known === name)) return program as ReleaseProgram;
  }
  return EXECUTABLE;
}
