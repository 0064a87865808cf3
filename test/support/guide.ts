import { readFileSync } from 'node:fs';
import { inRepository } from './flanneld.ts';

/**
 * A guide of docs/guides/, as its reader sees it: where to type, what to type, and what to see then.
 *
 *     **On each server:** install the package.          the place, until the next heading or the next place
 *
 *     ```sh                                             a script, as it is; its words in the page's source may be
 *     apt install -y ./weft.deb                           exit=3                it has to end with this exit code
 *     ```                                                 within=20s            it is repeated until all is as expected
 *                                                         not-run="reason"      no test executes it
 *     ```text varies="3" yours="10.0.65.2"           what the script prints: `…` is any text in a line, a line of it
 *     10.0.65.2 after 3 ms                              any lines; what varies is like this, and another one each time;
 *     ```                                               what is yours you have to put into the later scripts as well
 */
export interface Guide {
  readonly name: string;
  readonly blocks: readonly GuideBlock[];
}

export interface GuideBlock {
  /** `install.md:42`, the line of the fence. */
  readonly at: string;
  readonly heading: string;
  /** `each server` of "**On each server, one after the other:**". */
  readonly place: string;
  readonly inTurn: boolean;
  readonly script: string;
  readonly exitCode: number;
  readonly withinMs: number;
  readonly notRun: string | undefined;
  readonly expected: Expected | undefined;
}

export interface Expected {
  readonly text: string;
  /** Texts of it that differ from one run to the next. */
  readonly varies: readonly string[];
  /** Those that are meant where they stand in later scripts and outputs too. */
  readonly yours: readonly string[];
}

const FENCE = /^( *)```(.*)$/;
const PLACE = /\*\*On ([^*]+?):?\*\*/g;
const IN_TURN = ', one after the other';
/** Words that each kind of block may have. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  sh: ['exit', 'within', 'not-run'],
  text: ['varies', 'yours'],
};

export const readGuide = (name: string): Guide =>
  parseGuide(name, readFileSync(inRepository(`docs/guides/${name}`), 'utf8'));

/** Throws where a reader, and so a test, could not know what to do with a block. */
export function parseGuide(name: string, markdown: string): Guide {
  const blocks: GuideBlock[] = [];
  const lines = markdown.split('\n');
  let heading = '';
  let place: string | undefined;
  /** The last block, as long as nothing but empty lines has come after it. */
  let open: GuideBlock | undefined;
  for (let n = 0; n < lines.length; n++) {
    const line = lines[n] ?? '';
    const fence = FENCE.exec(line);
    if (fence === null) {
      if (line.trim() !== '') open = undefined;
      if (/^#+ /.test(line)) [heading, place] = [line.replace(/^#+ /, ''), undefined];
      for (const [, found] of line.matchAll(PLACE)) place = found;
      continue;
    }
    const at = `${name}:${n + 1}`;
    const [, indent = '', info = ''] = fence;
    const body: string[] = [];
    for (n++; FENCE.exec(lines[n] ?? '')?.[2] !== ''; n++) {
      const inside = lines[n];
      if (inside === undefined) throw new Error(`${at}: the block has no end`);
      body.push(inside.startsWith(indent) ? inside.slice(indent.length) : inside.trimStart());
    }
    const { kind, words } = readInfo(at, info);
    if (kind === 'text') {
      if (open === undefined) throw new Error(`${at}: an output without a script before it`);
      const listed = (word: string) => (words.get(word) ?? '').split(' ').filter((it) => it !== '');
      const expected = { text: body.join('\n'), varies: listed('varies'), yours: listed('yours') };
      blocks.splice(-1, 1, { ...open, expected });
      open = undefined;
      continue;
    }
    const notRun = words.get('not-run');
    if (place === undefined && notRun === undefined)
      throw new Error(`${at}: no place for the script: write "**On …:**" before it`);
    open = {
      at,
      heading,
      place: place?.replace(IN_TURN, '') ?? '',
      inTurn: place?.endsWith(IN_TURN) ?? false,
      script: body.join('\n'),
      exitCode: Number(words.get('exit') ?? 0),
      withinMs: Number(/^(\d+)s$/.exec(words.get('within') ?? '0s')?.[1]) * 1000,
      notRun,
      expected: undefined,
    };
    if (notRun === '') throw new Error(`${at}: not-run has no reason`);
    if (!(open.exitCode >= 0 && open.withinMs >= 0)) throw new Error(`${at}: ${info}: no such number`);
    blocks.push(open);
  }
  return { name, blocks };
}

/** What is behind the fence: `sh exit=1 not-run="needs a browser"`. */
function readInfo(at: string, info: string): { kind: string; words: ReadonlyMap<string, string> } {
  const [kind = ''] = info.split(' ');
  const known = WORDS[kind];
  if (known === undefined)
    throw new Error(`${at}: a block is \`\`\`sh or its output \`\`\`text, not "${info}"`);
  const words = new Map<string, string>();
  const rest = info
    .slice(kind.length)
    .replaceAll(/ ([\w-]+)=(?:"([^"]*)"|(\S+))/g, (_, word, quoted, bare) => {
      if (!known.includes(word)) throw new Error(`${at}: \`\`\`${kind} has no ${word}=`);
      words.set(word, quoted ?? bare);
      return '';
    });
  if (rest.trim() !== '') throw new Error(`${at}: not understood: "${rest.trim()}"`);
  return { kind, words };
}
