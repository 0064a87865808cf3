/** What a command may assume of the place where its results go. */
export interface Screen {
  /** A terminal can be drawn on again; a file or a pipe takes line after line. */
  readonly isTerminal: boolean;
  /** Columns of a line: 100, or those of the terminal where it has fewer. */
  readonly width: number;
  /** Lines of the terminal. */
  readonly height: number;
  readonly hasColour: boolean;
  /** Writes text as it is: escape sequences. */
  write(text: string): void;
  /** Calls back when the terminal has another size, until the returned function is called. */
  onResize(listener: () => void): () => void;
}

export const WIDEST = 100;
/** A narrower terminal is taken for one of so many columns: nothing can be read there. */
const NARROWEST = 20;
const HEIGHT = 24;

/** Colours are for a terminal that has them; NO_COLOR turns them off (https://no-color.org). */
export function screenOf(
  stdout: NodeJS.WriteStream,
  environment: Readonly<Record<string, string | undefined>>,
): Screen {
  const isTerminal = stdout.isTTY === true;
  const isPlain = (environment.NO_COLOR ?? '') !== '' || environment.TERM === 'dumb';
  return {
    isTerminal,
    get width() {
      const columns = isTerminal ? (stdout.columns ?? WIDEST) : WIDEST;
      return Math.max(NARROWEST, Math.min(WIDEST, columns));
    },
    get height() {
      return stdout.rows ?? HEIGHT;
    },
    hasColour: isTerminal && !isPlain,
    write: (text) => void stdout.write(text),
    onResize(listener) {
      stdout.on('resize', listener);
      return () => stdout.off('resize', listener);
    },
  };
}

/** What a colour says. Nothing is said by colour alone. */
export type Tone = 'good' | 'warning' | 'bad' | 'quiet' | 'title';

/** ECMA-48 SGR parameters: green, yellow, red, faint, bold. */
const SGR: Readonly<Record<Tone, number>> = { good: 32, warning: 33, bad: 31, quiet: 2, title: 1 };

/** The text in its colour, where there are colours. */
export const inTone = (text: string, tone: Tone | undefined, hasColour: boolean): string =>
  hasColour && tone !== undefined && text !== '' ? `\x1b[${SGR[tone]}m${text}\x1b[0m` : text;
