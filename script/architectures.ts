/** The architectures of a release by Node's words, and what others call them. */
export const ARCHITECTURES = {
  x64: { debian: 'amd64', rpm: 'x86_64', emulator: 'qemu-x86_64-static' },
  arm64: { debian: 'arm64', rpm: 'aarch64', emulator: 'qemu-aarch64-static' },
} as const satisfies Record<string, ArchitectureNames>;

interface ArchitectureNames {
  /** Debian's word, Go's and OCI's too. */
  readonly debian: string;
  readonly rpm: string;
  /** qemu's emulator of one process, by its name in Debian. */
  readonly emulator: string;
}

export type Architecture = keyof typeof ARCHITECTURES;

export const ALL_ARCHITECTURES = Object.keys(ARCHITECTURES) as readonly Architecture[];

/** Those that the words of a command line name; all without a word. Throws for a word that names none. */
export function architecturesOf(words: readonly string[]): readonly Architecture[] {
  const stranger = words.find((word) => !ALL_ARCHITECTURES.some((known) => known === word));
  if (stranger !== undefined)
    throw new Error(`no architecture ${stranger}, there are ${ALL_ARCHITECTURES.join(' and ')}`);
  return ALL_ARCHITECTURES.filter((known) => words.length === 0 || words.includes(known));
}
