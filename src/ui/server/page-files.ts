import { eraseTypes } from '#src/sys/erase-types.ts';
import type { ProgramFiles } from '#src/sys/program-files.ts';

export interface PageFile {
  readonly type: string;
  readonly text: string;
}

/** The only files of others: the plotting library. */
export const VENDOR: Readonly<Record<string, string>> = {
  '/vendor/uplot.js': 'node_modules/uplot/dist/uPlot.esm.js',
  '/vendor/uplot.css': 'node_modules/uplot/dist/uPlot.min.css',
};
/** What the browser loads of this room. A test has no place there. */
const OWN = /^\/(page|model)\/([a-z0-9-]+)\.(ts|css|svg)$/;
const TYPES: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  ts: 'text/javascript; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
};

/**
 * The page, as a browser can read it. Browser code is TypeScript whose types are erased here, so that there is no build
 * step; the line numbers stay, and an import from the root becomes the path under which the browser finds the file.
 */
export class PageFiles {
  readonly #files: ProgramFiles;
  readonly #cache = new Map<string, Promise<PageFile | undefined>>();

  constructor(files: ProgramFiles) {
    this.#files = files;
  }

  /** What is served at a path; `undefined` for a path that is not the page's. */
  read(path: string): Promise<PageFile | undefined> {
    const source = sourceOf(path);
    if (source === undefined) return Promise.resolve(undefined);
    const found = this.#cache.get(path) ?? this.#load(source);
    this.#cache.set(path, found);
    return found;
  }

  async #load(source: string): Promise<PageFile | undefined> {
    const text = await this.#files.read(source);
    if (text === undefined) return undefined;
    const extension = source.slice(source.lastIndexOf('.') + 1);
    return { type: TYPES[extension] ?? 'text/plain', text: extension === 'ts' ? asBrowserCode(text) : text };
  }
}

function sourceOf(path: string): string | undefined {
  if (path === '/') return 'src/ui/page/index.html';
  const vendor = Object.hasOwn(VENDOR, path) ? VENDOR[path] : undefined;
  if (vendor !== undefined) return vendor;
  const [, folder, name, extension] = OWN.exec(path) ?? [];
  return name === undefined ? undefined : `src/ui/${folder}/${name}.${extension}`;
}

/** Erases the types. Imports of types alone go with them. */
export function asBrowserCode(text: string): string {
  return eraseTypes(text)
    .replaceAll(/(\bfrom |\bimport )'#src\/ui\/((?:page|model)\/[a-z0-9-]+\.ts)'/g, "$1'/$2'")
    .replaceAll(/\bfrom 'uplot'/g, "from '/vendor/uplot.js'");
}
