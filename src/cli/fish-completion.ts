import type { Completions, DescribedFlag } from '#src/cli/completion-table.ts';

/** The completion of `weft` for fish: in ~/.config/fish/completions/weft.fish, or by `source`. */
export const fishCompletion = (
  table: readonly Completions[],
): string => `# weft's completion for fish: weft completion fish | source
function __weft_key
    set -l keys ${table.map(({ key }) => quoted(key)).join(' ')}
    set -l key ''
    for word in (commandline -opc)[2..-1]
        set -l next (string trim -- "$key $word")
        contains -- "$next" $keys; and set key $next
    end
    echo $key
end

function __weft_at
    test (__weft_key) = "$argv[1]"
end

complete -c weft -e
${table.flatMap(linesOf).join('\n')}`;

function linesOf({ key, names, flags }: Completions): string[] {
  const at = `complete -c weft -n ${quoted(`__weft_at ${quoted(key)}`)}`;
  return [
    ...(names.length === 0 ? [] : [`${at} -f`]),
    ...names.map(
      ({ name, about }) => `${at} -a ${quoted(name)}${about === '' ? '' : ` -d ${quoted(about)}`}`,
    ),
    ...flags.map((flag) => `${at} -l ${flag.name}${argumentOf(flag)} -d ${quoted(flag.about)}`),
  ];
}

/** `-x`: one of these and no file. `-r`: anything, as the name of a file. */
function argumentOf({ takesValue, values }: DescribedFlag): string {
  if (!takesValue) return '';
  return values.length > 0 ? ` -x -a ${quoted(values.join(' '))}` : ' -r -F';
}

const quoted = (text: string): string => `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
