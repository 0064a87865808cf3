import type { Masker } from '#src/diagnose/report/mask.ts';
import type { ReportPart } from '#src/diagnose/report/report-parts.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import { deadlineIn } from '#src/sys/timer.ts';

export interface CollectComponents {
  readonly commands: CommandRunner;
  readonly files: Pick<Files, 'read'>;
  readonly masker: Masker;
}

export interface CollectedPart {
  readonly name: string;
  readonly text: string;
}

export interface Collected {
  readonly parts: readonly CollectedPart[];
  /** What could not be had: `docker.txt: docker: there is no such program`. */
  readonly missing: readonly string[];
}

const TIMEOUT_MS = 5_000;
/** So much of one part: a host with 50,000 peers has a view of 40 MB. */
const MOST_CHARACTERS = 8 << 20;
/** Programs that run at once. */
const AT_ONCE = 4;

/** Reads the parts of a report. A part that can't be had, or not in time, is a line among the missing ones. */
export async function collectReport(
  components: CollectComponents,
  parts: readonly ReportPart[],
  signal: AbortSignal,
): Promise<Collected> {
  const waiting = parts.map((part, index) => ({ part, index }));
  const texts: (string | undefined)[] = [];
  const missing: string[][] = parts.map(() => []);
  const work = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const { part, index } = next;
      const say = (why: string): void => void missing[index]?.push(`${part.name}: ${why}`);
      texts[index] = await read(components, part, say, signal);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  const { masker } = components;
  // In the order of the parts, so that placeholders are the same in two reports of a host that did not change.
  return {
    parts: parts.flatMap(({ name }, index) => {
      const text = texts[index];
      return text === undefined ? [] : [{ name, text: masker.mask(cut(text)) }];
    }),
    missing: missing.flat().map((line) => masker.mask(line)),
  };
}

async function read(
  components: CollectComponents,
  part: ReportPart,
  say: (why: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const { timeoutMs = TIMEOUT_MS } = part;
  try {
    if (part.file !== undefined) {
      const text = await components.files.read(part.file);
      if (text === undefined) say(`there is no ${part.file}`);
      return text;
    }
    if (part.ask !== undefined) return await inTime(part.ask, timeoutMs, signal);
    return await outputs(components, part, say, signal);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    say(
      isAbort(error) || (error as Error).name === 'TimeoutError'
        ? `no answer in ${timeoutMs / 1_000} s`
        : messageOf(error),
    );
    return undefined;
  }
}

/** One that does not heed its signal is left alone. */
function inTime<T>(
  ask: (signal: AbortSignal) => Promise<T>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<T> {
  const end = AbortSignal.any([signal, deadlineIn(timeoutMs)]);
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  end.addEventListener('abort', () => reject(end.reason), { once: true });
  ask(end).then(resolve, reject);
  return promise;
}

async function outputs(
  { commands }: CollectComponents,
  { commands: all = [], timeoutMs = TIMEOUT_MS }: ReportPart,
  say: (why: string) => void,
  signal: AbortSignal,
): Promise<string | undefined> {
  const texts: string[] = [];
  for (const argv of all) {
    const { code, stdout, stderr } = await commands.run(argv, { timeoutMs, signal });
    const command = argv.join(' ');
    if (code === 127) say(`${argv[0]}: there is no such program`);
    else if (code === 124) say(`${command}: no answer in ${timeoutMs / 1_000} s`);
    else if (code !== 0 && stdout === '')
      say(`${command}: ${stderr.trim().split('\n')[0] || `exit code ${code}`}`);
    else texts.push(`$ ${command}\n${stdout}${stderr}`);
  }
  return texts.length === 0 ? undefined : texts.join('\n');
}

const cut = (text: string): string =>
  text.length <= MOST_CHARACTERS
    ? text
    : `${text.slice(0, MOST_CHARACTERS)}\n[cut here: ${text.length} characters in all]\n`;
