import { escapeControls } from '#src/lib/go-values.ts';

const LONGEST = 200;

/** The last line that a program printed, where the reason of a failure is, as a message can show it. */
export function lastLine(output: string): string {
  const line = escapeControls(output.trimEnd().split('\n').at(-1)?.trim() ?? '');
  return line.length <= LONGEST ? line : `${line.slice(0, LONGEST)}…`;
}
