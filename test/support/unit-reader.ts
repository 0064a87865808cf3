import type { UnitReader } from '#src/sys/read-unit.ts';

/** The files of a host, by path. */
export const unitReaderOf = (texts: Readonly<Record<string, string>>): UnitReader => ({
  files: { read: async (path) => texts[path] },
  folders: {
    list: async (folder) => [
      ...new Set(
        Object.keys(texts)
          .filter((path) => path.startsWith(`${folder}/`))
          .map((path) => path.slice(folder.length + 1).split('/')[0] ?? ''),
      ),
    ],
  },
});
