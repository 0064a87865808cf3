/** Files of a test, by their paths. `mayWrite` throws what the system says of a path that can't be written. */
export function writtenFiles(files: Map<string, string>, mayWrite: (path: string) => void = () => {}) {
  const write = async (path: string, text: string | Iterable<string>): Promise<void> => {
    mayWrite(path);
    files.set(path, [...text].join(''));
  };
  return {
    read: async (path: string) => files.get(path),
    write,
    writeAtomically: write,
    remove: async (path: string) => void files.delete(path),
  };
}
