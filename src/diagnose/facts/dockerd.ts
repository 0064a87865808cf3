import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import { daemonJsonOf } from '#src/docker/docker-doors.ts';
import type { Files } from '#src/sys/files.ts';
import type { RunningProgram } from '#src/sys/process-list.ts';

/** The options of the dockerd that runs on this host, from its command line and its file. */
export interface Dockerd {
  readonly pid: number;
  /** Its words, without the program. */
  readonly words: readonly string[];
  readonly file: string;
  /** What the file holds; `undefined` where there is none. */
  readonly json: Readonly<Record<string, unknown>> | undefined;
  /** Why the file can't be read as JSON. */
  readonly jsonFault?: string;
}

/** One option, and where it stands. */
export interface DockerdOption {
  readonly value: string;
  readonly from: 'command line' | 'daemon.json';
}

export async function readDockerd(
  files: Pick<Files, 'read'>,
  programs: readonly RunningProgram[],
): Promise<Fact<Dockerd>> {
  const found = programs.find(({ name }) => name === 'dockerd');
  if (found === undefined) return absentFact('no dockerd runs on this host');
  const words = found.argv.slice(1);
  const file = daemonJsonOf(words.join(' '));
  try {
    const text = await files.read(file);
    return knownFact({ pid: found.pid, words, file, ...jsonOf(text) });
  } catch (error) {
    return unknownFact(`${file} can't be read: ${(error as Error).message}`);
  }
}

/** The names of what is in dockerd's default file; none where it can't be read. */
export async function readDockerOptions(files: Pick<Files, 'read'>): Promise<readonly string[]> {
  const text = await files.read(daemonJsonOf('')).catch(() => undefined);
  return Object.keys(jsonOf(text).json ?? {});
}

function jsonOf(text: string | undefined): Pick<Dockerd, 'json' | 'jsonFault'> {
  if (text === undefined || text.trim() === '') return { json: undefined };
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return { json: value as Record<string, unknown> };
  } catch {
    // Said below.
  }
  return { json: undefined, jsonFault: 'it is no JSON object' };
}

/** An option by its long name; `false` and `true` are texts. The command line first, as dockerd refuses both. */
export function dockerdOption(dockerd: Dockerd, name: string): DockerdOption | undefined {
  return wordOf(dockerd.words, name) ?? fileOption(dockerd, name);
}

/** Options that stand in both places: dockerd does not start with such. */
export const doubledOptions = (dockerd: Dockerd): string[] =>
  Object.keys(dockerd.json ?? {}).filter((name) => wordOf(dockerd.words, name) !== undefined);

function fileOption({ json }: Dockerd, name: string): DockerdOption | undefined {
  const value = json?.[name];
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean') return undefined;
  return { value: String(value), from: 'daemon.json' };
}

function wordOf(words: readonly string[], name: string): DockerdOption | undefined {
  const from = 'command line';
  for (const [n, word] of words.entries()) {
    const [, given, value] = /^--?([\w-]+)(?:=(.*))?$/s.exec(word) ?? [];
    if (given !== name) continue;
    if (value !== undefined) return { value, from };
    const next = words[n + 1];
    return { value: next === undefined || next.startsWith('-') ? 'true' : next, from };
  }
  return undefined;
}
