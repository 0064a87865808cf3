/**
 * Preloaded into a program (`node --import`): each module that a file of src/ loads is a line of standard error, whether it is
 * imported or asked of Node: `loaded node:net`, `loaded src/lib/ip.ts`.
 */
import { registerHooks } from 'node:module';
import { inRepository } from './flanneld.ts';

const root = new URL('src/', `file://${inRepository('')}`).href;
const seen = new Set<string>();

function note(name: string): void {
  if (seen.has(name)) return;
  seen.add(name);
  process.stderr.write(`loaded ${name}\n`);
}

registerHooks({
  resolve(name, context, next) {
    const found = next(name, context);
    if (found.url.startsWith(root)) note(`src/${found.url.slice(root.length)}`);
    else if (found.url.startsWith('node:') && context.parentURL?.startsWith(root)) note(found.url);
    return found;
  },
});

const { getBuiltinModule } = process;
process.getBuiltinModule = ((name: string) => {
  note(name);
  return getBuiltinModule.call(process, name);
}) as typeof getBuiltinModule;
