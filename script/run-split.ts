import type { Parts } from './split-bundle.ts';

/** A text of CommonJS, compiled: Node's own wrapper around a module. */
export type Compiled = (exports: { parts?: Parts }, require: (name: string) => unknown) => void;

/** Runs a program of two texts (split-bundle.ts). The second is loaded when a part of it is asked first. */
export function runSplit(
  start: Compiled,
  loadLater: () => Compiled,
  require: (name: string) => unknown,
): void {
  const texts = new Map<string, { parts?: Parts }>();
  const run = (text: string, compiled: Compiled): { parts?: Parts } => {
    const exports = {};
    texts.set(text, exports);
    compiled(exports, find);
    return exports;
  };
  const find = (name: string): unknown => {
    const [, text, path = ''] = /^(start|later):(.*)$/.exec(name) ?? [];
    if (text === undefined) return require(name);
    const part = (texts.get(text) ?? run('later', loadLater())).parts?.[path];
    if (part === undefined) throw new Error(`the program has no part ${name}`);
    return part();
  };
  run('start', start);
}
