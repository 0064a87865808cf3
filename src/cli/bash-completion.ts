import type { Completions, Described, DescribedFlag } from '#src/cli/completion-table.ts';

/**
 * The completion of `weft` for bash 4 and later. A flag that takes a value ends with `=`, and no blank follows it. Bash
 * makes words of `--flag=value` at the `=`. Where nothing fits, bash completes names of files.
 */
export function bashCompletion(table: readonly Completions[]): string {
  const names = table.filter((entry) => entry.names.length > 0);
  const values = table.flatMap(({ key, flags }) =>
    flags.filter((flag) => flag.values.length > 0).map((flag) => ({ key, flag })),
  );
  return `# weft's completion for bash: source <(weft completion bash)
_weft_names() {
  case $1 in
${names.map((entry) => lineOf(entry.key, entry.names.map(nameOf))).join('\n')}
  esac
}

_weft_flags() {
  case $1 in
${table.map(({ key, flags }) => lineOf(key, flags.map(flagWord))).join('\n')}
  esac
}

_weft_values() {
  case $1 in
${values.map(({ key, flag }) => lineOf(`${key} --${flag.name}`, flag.values)).join('\n')}
  esac
}

_weft() {
  local cur=\${COMP_WORDS[COMP_CWORD]} prev=\${COMP_WORDS[COMP_CWORD-1]} key= next flag= i
  for ((i = 1; i < COMP_CWORD; i++)); do
    next="\${key:+$key }\${COMP_WORDS[i]}"
    [[ -n $(_weft_flags "$next") ]] && key=$next
  done
  if [[ $cur == = ]]; then
    flag=$prev cur=
  elif [[ $prev == = ]]; then
    flag=\${COMP_WORDS[COMP_CWORD-2]}
  elif [[ " $(_weft_flags "$key") " == *" $prev= "* ]]; then
    flag=$prev
  fi
  if [[ -n $flag ]]; then
    COMPREPLY=($(compgen -W "$(_weft_values "$key $flag")" -- "$cur"))
  elif [[ $cur == -* ]]; then
    COMPREPLY=($(compgen -W "$(_weft_flags "$key")" -- "$cur"))
    [[ \${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
  else
    COMPREPLY=($(compgen -W "$(_weft_names "$key")" -- "$cur"))
  fi
  return 0
}

complete -o default -F _weft weft`;
}

const lineOf = (key: string, words: readonly string[]): string =>
  `    '${key}') echo '${words.join(' ')}' ;;`;
const nameOf = ({ name }: Described): string => name;
const flagWord = ({ name, takesValue }: DescribedFlag): string => `--${name}${takesValue ? '=' : ''}`;
