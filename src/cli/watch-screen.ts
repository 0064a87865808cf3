import { inTone, type Screen } from '#src/cli/screen.ts';
import type { Output } from '#src/cli/terminal.ts';
import { isAbort, messageOf } from '#src/lib/errors.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Something that is asked again and again, and shown. */
export interface Watched<T> {
  /** The command, for the first line: `weft peers`. */
  readonly title: string;
  ask(): Promise<T>;
  /** As it is shown now, in the width that the screen has. */
  lines(value: T): readonly string[];
  /** Two values with the same essence differ in nothing that is news: an age, the time that a lease has left. */
  essence(value: T): unknown;
}

export interface WatchComponents {
  readonly screen: Screen;
  readonly output: Output;
  readonly clock: Clock;
}

const INTERVAL_MS = 1000;

/** Private modes of xterm: the alternate screen, the cursor, and lines that go on below. */
const BEGIN = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const END = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const [HOME, CLEAR_LINE, CLEAR_BELOW] = ['\x1b[H', '\x1b[K', '\x1b[J'];

/**
 * Shows the value until the signal aborts: on a terminal each second in the same place, which it gives back at the end;
 * elsewhere as a new block of lines each time when something changed. A failure is shown, and the next try follows.
 */
export async function watchScreen<T>(
  watched: Watched<T>,
  components: WatchComponents,
  signal: AbortSignal,
): Promise<void> {
  const view = components.screen.isTerminal
    ? new Drawing(watched, components)
    : new Blocks(watched, components);
  const { clock } = components;
  try {
    while (!signal.aborted) {
      try {
        view.show({ value: await watched.ask() });
      } catch (error) {
        if (signal.aborted || isAbort(error)) break;
        view.show({ problem: messageOf(error) });
      }
      await clock.sleep(INTERVAL_MS, signal).catch(() => {});
    }
  } finally {
    view.end();
  }
}

type Round<T> = { readonly value: T } | { readonly problem: string };

/** On a terminal. */
class Drawing<T> {
  readonly #watched: Watched<T>;
  readonly #components: WatchComponents;
  readonly #offResize: () => void;
  #last: Round<T> | undefined;

  constructor(watched: Watched<T>, components: WatchComponents) {
    this.#watched = watched;
    this.#components = components;
    const { screen } = components;
    screen.write(BEGIN);
    this.#offResize = screen.onResize(() => this.#draw());
  }

  show(round: Round<T>): void {
    this.#last = round;
    this.#draw();
  }

  end(): void {
    this.#offResize();
    this.#components.screen.write(END);
  }

  #draw(): void {
    const { screen, clock } = this.#components;
    const { height, hasColour } = screen;
    if (this.#last === undefined) return;
    const at = new Date(clock.now()).toISOString().slice(11, 19);
    const head = inTone(`${this.#watched.title}, each second, ${at} UTC; Ctrl-C ends it`, 'quiet', hasColour);
    const body =
      'problem' in this.#last
        ? [inTone(this.#last.problem, 'bad', hasColour)]
        : this.#watched.lines(this.#last.value);
    const lines = fitHeight([head, '', ...body], height);
    // Written over what is there, because a terminal that is cleared first flickers.
    screen.write(HOME + lines.map((line) => line + CLEAR_LINE).join('\r\n') + CLEAR_BELOW);
  }
}

function fitHeight(lines: readonly string[], height: number): readonly string[] {
  if (lines.length <= height) return lines;
  const shown = lines.slice(0, height - 1);
  return [...shown, `… ${lines.length - shown.length} more lines: the window is too low`];
}

/** In a file or a pipe. */
class Blocks<T> {
  readonly #watched: Watched<T>;
  readonly #components: WatchComponents;
  #last: string | undefined;

  constructor(watched: Watched<T>, components: WatchComponents) {
    this.#watched = watched;
    this.#components = components;
  }

  show(round: Round<T>): void {
    const { output } = this.#components;
    const essence = JSON.stringify('problem' in round ? round : this.#watched.essence(round.value));
    if (essence === this.#last) return;
    const isFirst = this.#last === undefined;
    this.#last = essence;
    if ('problem' in round) {
      output.complain(`${this.#watched.title}: ${round.problem}`);
      return;
    }
    const lines = this.#watched.lines(round.value);
    if (!isFirst && lines.length > 1) output.print('');
    for (const line of lines) output.print(line);
  }

  end(): void {}
}
