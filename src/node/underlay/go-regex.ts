import { WeftError } from '#src/lib/errors.ts';

/** Whether the expression matches any part of the text, as Go's `regexp.MatchString`. */
export type MatchText = (text: string) => boolean;

/**
 * Compiles an expression in Go's syntax (RE2), which every flannel takes for `--iface-regex`. JavaScript's syntax lacks
 * `(?i)`, `\z`, `\Q…\E`, `[[:digit:]]` and more. The library is loaded here, not at the start: few hosts use the flag.
 *
 * Throws WeftError `interface` with the library's words, which are Go's.
 */
export async function compileGoRegex(text: string): Promise<MatchText> {
  const { RE2JS } = await import('re2js');
  try {
    const regex = RE2JS.compile(text);
    return (candidate) => regex.matcher(candidate).find();
  } catch (cause) {
    const reason = (cause as Error).message;
    throw new WeftError('interface', `--iface-regex=${text} is not a regular expression: ${reason}`, {
      cause,
      remedy: 'write it in the syntax of Go (RE2), which has no lookahead and no backreferences',
    });
  }
}
