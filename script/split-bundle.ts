import { relative, resolve } from 'node:path';
import { type BuildOptions, build, type OnResolveArgs, type Plugin } from 'esbuild';

/**
 * A program as two texts of CommonJS, so that a start neither reads nor keeps what it has no need of. Each module is in one
 * of them, and so is there once.
 */
export interface SplitBundle {
  /** Runs the program. `require('later:PATH')` is to give it a part of the other text. */
  readonly start: string;
  /** What is loaded later; absent where nothing is. `require('start:PATH')` is to give it a part of the first. */
  readonly later?: string;
}

/** In both texts, `exports.parts[path]()` gives what the module with that path exports. The module runs at the first call. */
export type Parts = Readonly<Record<string, () => unknown>>;

/**
 * Bundles `entry`, a path from `root`. A module that is imported by `import()` alone comes later, with what only such modules
 * need, unless `isOfStart` holds for its path.
 */
export async function splitBundle(
  entry: string,
  root: string,
  options: BuildOptions,
  isOfStart: (path: string) => boolean,
): Promise<SplitBundle> {
  const bundle = async (contents: string, plugin: Plugin) => {
    const { outputFiles, metafile } = await build({
      ...options,
      stdin: { contents, resolveDir: root, sourcefile: 'parts.cjs', loader: 'js' },
      absWorkingDir: root,
      bundle: true,
      write: false,
      metafile: true,
      // It loads node's own modules when they are first needed; as ES modules all of them come first.
      format: 'cjs',
      plugins: [plugin],
    });
    const text = outputFiles.map((file) => file.text).join('');
    const outside = Object.values(metafile.outputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    return { text, inputs: new Set(Object.keys(metafile.inputs)), outside };
  };
  const later = outsidePlugin(root, LATER, ({ kind }, path) => kind === 'dynamic-import' && !isOfStart(path));
  const run = `require(${JSON.stringify(`./${entry}`)});\n`;
  const whole = await bundle(run, later);
  const wanted = namesOf(LATER, whole.outside);
  if (wanted.length === 0) return { start: whole.text };

  const rest = await bundle(
    partsText(wanted),
    outsidePlugin(root, START, (_, path) => whole.inputs.has(path)),
  );
  const start = await bundle(partsText(namesOf(START, rest.outside)) + run, later);
  return { start: start.text, later: rest.text };
}

const LATER = 'later:';
const START = 'start:';

const namesOf = (prefix: string, paths: readonly string[]): string[] =>
  [
    ...new Set(paths.filter((path) => path.startsWith(prefix)).map((path) => path.slice(prefix.length))),
  ].sort();

const partsText = (paths: readonly string[]): string =>
  `exports.parts = {\n${paths.map((path) => `  ${JSON.stringify(path)}: () => require(${JSON.stringify(`./${path}`)}),\n`).join('')}};\n`;

/** Leaves out the modules that are elsewhere, and names them by a prefix and their path from `root`. */
function outsidePlugin(
  root: string,
  prefix: string,
  isOutside: (args: OnResolveArgs, path: string) => boolean,
): Plugin {
  return {
    name: 'outside',
    setup(made) {
      made.onResolve({ filter: /.*/ }, async (args) => {
        if (args.pluginData === RESOLVING || args.kind === 'entry-point' || args.path.startsWith('node:'))
          return undefined;
        const { importer, namespace, resolveDir, kind } = args;
        const found = await made.resolve(args.path, {
          importer,
          namespace,
          resolveDir,
          kind,
          pluginData: RESOLVING,
        });
        if (found.external || found.errors.length > 0) return undefined;
        const path = relative(root, resolve(root, found.path));
        return isOutside(args, path) ? { path: `${prefix}${path}`, external: true } : undefined;
      });
    },
  };
}

const RESOLVING = Symbol('resolving');
