import { basename } from 'node:path';
import { commandsWith, shellWords } from '#src/cli/import-flannel/shell-words.ts';
import type { Found, FoundVariables } from '#src/cli/import-flannel/unit-environment.ts';
import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import { readSpecifiers, replaceVariables, type UnitCommand, unitWords } from '#src/lib/unit-words.ts';
import type { Files } from '#src/sys/files.ts';

/** A word of flanneld's command line. */
export interface CallWord {
  readonly text: string;
  readonly source: string;
}

/** flanneld's command line and environment. */
export interface FlanneldCall {
  readonly words: readonly CallWord[];
  readonly variables: FoundVariables;
  /** Variables that are in the words. */
  readonly used: ReadonlySet<string>;
  readonly notes: readonly string[];
}

export interface CallPlace {
  readonly command: UnitCommand;
  /** The unit's file, or its drop-in. */
  readonly source: string;
  readonly variables: FoundVariables;
}

/**
 * What `/usr/bin/flanneld-start` of Fedora's, CentOS' and RHEL's flannel package hands to flanneld before its own
 * words: each flag with the variables that it takes, the first that is set.
 */
const FLANNELD_START = {
  '-etcd-endpoints': ['FLANNEL_ETCD_ENDPOINTS', 'FLANNEL_ETCD'],
  '-etcd-prefix': ['FLANNEL_ETCD_PREFIX', 'FLANNEL_ETCD_KEY'],
} as const;

const FLANNELD = /(^|\/)flanneld$/;
/** Some packages call the program flannel, as Go does by the name of the module. */
const NAMES: readonly string[] = ['flanneld', 'flannel'];

/** Whether a command starts flanneld, itself or through a wrapper. `script` is the program's text, if it has one. */
export function startsFlanneld({ program, words }: UnitCommand, script: string | undefined): boolean {
  const name = basename(program);
  if (NAMES.includes(name) || name === 'flanneld-start') return true;
  if (name === 'flannel-wrapper') return !words.includes('-d');
  if (LAUNCHERS.test(name)) return words.some((word) => FLANNELD.test(word)) || imageAt(words) >= 0;
  return script !== undefined && commandsWith(script, STARTS_FLANNELD).length > 0;
}

/** Programs whose words end in a command of another. */
const LAUNCHERS =
  /^(docker|podman|rkt|nerdctl|env|nice|ionice|chrt|taskset|numactl|nohup|ip|nsenter|setpriv|capsh|sudo)$/;
/** Not `pkill flanneld` and the like: the word is where a command begins. */
const STARTS_FLANNELD = /(^|;|&&|\bexec|\bnohup|\bdo|\|\|)\s*(\S*=\S*\s+)*"?(\S*\/)?flanneld"?(\s|$)/;
const isShell = (name: string): boolean => /^(ba|da|z)?sh$/.test(name);
/** `quay.io/coreos/flannel:v0.9.1`; the image's own program is flanneld. */
const imageAt = (words: readonly string[]): number =>
  words.findIndex((word) => /^[^-=][^=]*\/flannel(:\S*)?$/.test(word));

export async function flanneldCall(files: Pick<Files, 'read'>, place: CallPlace): Promise<FlanneldCall> {
  const { command, source } = place;
  const variables = new Map(place.variables);
  const { words, used } = expand(place);
  const from = (list: readonly string[]): CallWord[] =>
    list.map((text) => ({ text, source: sourceOf(text, { used, variables, source }) }));
  const name = basename(command.program);
  const notes = specifierNotes(words, source);
  if (NAMES.includes(name) || name === 'flannel-wrapper')
    return { words: from(words), variables, used, notes };
  const script = await scriptOf(files, command);
  if (script !== undefined && commandsWith(script, STARTS_FLANNELD).length > 0)
    return ofScript(script, { ...place, words: from(words), used, notes });
  if (name === 'flanneld-start') return ofFlanneldStart({ variables, words: from(words), used, notes });
  // docker run, env, nice: the words behind the program's name are its own.
  const at = words.findIndex((word) => FLANNELD.test(word));
  const start = at >= 0 ? at : imageAt(words);
  await addContainerVariables(files, { words: words.slice(0, start), source, variables });
  return { words: from(words.slice(start + 1)), variables, used, notes };
}

function expand({ command, variables }: CallPlace): { words: string[]; used: Set<string> } {
  const raw = command.words.map((word) => readSpecifiers(word).text);
  if (command.marks.includes(':')) return { words: raw, used: new Set() };
  const named = raw.flatMap((word) =>
    [...word.matchAll(/\$\{?([A-Za-z_][A-Za-z0-9_]*)/g)].map(([, name = '']) => name),
  );
  return { words: replaceVariables(raw, valuesOf(variables)), used: new Set(named) };
}

const valuesOf = (variables: FoundVariables): Record<string, string> =>
  Object.fromEntries([...variables].map(([name, { value }]) => [name, value]));

const specifierNotes = (words: readonly string[], source: string): string[] =>
  words.flatMap((word) => {
    const { left } = readSpecifiers(word);
    return left.length === 0
      ? []
      : [`the command line in ${source} has ${left.join(', ')}, which only systemd can replace`];
  });

/** A variable whose value the word has, or ends with; else the place of the whole command. */
function sourceOf(
  text: string,
  {
    used,
    variables,
    source,
  }: { readonly used: ReadonlySet<string>; readonly variables: FoundVariables; readonly source: string },
): string {
  for (const name of used) {
    const found = variables.get(name);
    if (found === undefined || found.value === '') continue;
    const hasIt = text.endsWith(found.value) || unitWords(found.value).includes(text);
    if (hasIt) return `${name} in ${found.source}`;
  }
  return source;
}

/** What a shell runs for a command: the text behind `-c`, or of a script. flanneld itself is none. */
export async function scriptOf(
  files: Pick<Files, 'read'>,
  { program, words }: UnitCommand,
): Promise<string | undefined> {
  if (NAMES.includes(basename(program))) return undefined;
  const isOfShell = isShell(basename(program));
  const at = words.findIndex((word) => /^-[a-z]*c$/.test(word));
  // systemd's dollar sign.
  if (isOfShell && at >= 0) return words[at + 1]?.replaceAll('$$', '$');
  const path = isOfShell ? words.find((word) => !word.startsWith('-')) : program;
  const text = path === undefined ? undefined : await files.read(path).catch(() => undefined);
  return isOfShell || text?.startsWith('#!') ? text : undefined;
}

interface Wrapped {
  readonly variables: Map<string, Found>;
  readonly words: readonly CallWord[];
  readonly used: Set<string>;
  readonly notes: readonly string[];
}

function ofFlanneldStart({ variables, words, used, notes }: Wrapped): FlanneldCall {
  const own = Object.entries(FLANNELD_START).flatMap(([flag, names]): CallWord[] => {
    for (const name of names) used.add(name);
    const name = names.find((one) => (variables.get(one)?.value ?? '') !== '');
    const found = name === undefined ? undefined : variables.get(name);
    return found === undefined
      ? []
      : [{ text: `${flag}=${found.value}`, source: `${name} in ${found.source}` }];
  });
  return { words: [...own, ...words], variables, used, notes };
}

function ofScript(
  script: string,
  { command, source, variables, words: own, used, notes }: CallPlace & Omit<Wrapped, 'variables'>,
): FlanneldCall {
  const place = isShell(basename(command.program)) ? source : command.program;
  const found = new Map(variables);
  const lines = commandsWith(script, STARTS_FLANNELD);
  const all = shellWords(afterShellWords(lines.at(-1) ?? ''), {
    value(name) {
      used.add(name);
      return found.get(name)?.value ?? '';
    },
    parameters: own.map(({ text }) => text),
  });
  if (all === undefined) {
    const note = `${place} starts flanneld by a command that only a shell understands: its flags are not taken over`;
    return { words: [], variables: found, used, notes: [...notes, note] };
  }
  const at = all.findIndex((word) => FLANNELD.test(word));
  for (const word of all.slice(0, at)) {
    const equals = word.indexOf('=');
    if (equals > 0) found.set(word.slice(0, equals), { value: word.slice(equals + 1), source: place });
  }
  const words = all.slice(at + 1).flatMap((text): CallWord[] => {
    // A flag whose variable is not set.
    if (/^--?[a-z-]+=$/.test(text)) return [];
    const given = own.find((word) => word.text === text);
    return [given ?? { text, source: sourceOf(text, { used, variables: found, source: place }) }];
  });
  return { words, variables: found, used, notes };
}

/** The command itself, behind what comes before it on its line. */
const afterShellWords = (line: string): string => {
  const at = line.search(STARTS_FLANNELD);
  return line.slice(at).replace(/^(;|&&|\|\||do\b)\s*/, '');
};

/** `-e NAME=VALUE` and `--env-file FILE` of `docker run`, and `NAME=VALUE` of `env`. */
async function addContainerVariables(
  files: Pick<Files, 'read'>,
  {
    words,
    source,
    variables,
  }: { readonly words: readonly string[]; readonly source: string; readonly variables: Map<string, Found> },
): Promise<void> {
  const set = (text: string): void => {
    const equals = text.indexOf('=');
    if (equals > 0) variables.set(text.slice(0, equals), { value: text.slice(equals + 1), source });
  };
  for (const [at, word] of words.entries()) {
    const next = words[at + 1] ?? '';
    const file = /^--env-file(?:=(.*))?$/.exec(word);
    if (word === '-e' || word === '--env') set(next);
    else if (word.startsWith('--env=')) set(word.slice('--env='.length));
    else if (file !== null) {
      const path = file[1] ?? next;
      for (const [name, value] of parseEnvironmentFile((await files.read(path)) ?? ''))
        variables.set(name, { value, source: path });
    } else if (/^[A-Z][A-Z0-9_]*=/.test(word) && !/^(-e|--env)$/.test(words[at - 1] ?? '')) set(word);
  }
}
