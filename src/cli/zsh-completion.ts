import type { Completions, Described, DescribedFlag } from '#src/cli/completion-table.ts';

/**
 * The completion of `weft` for zsh: as the file `_weft` in a folder of `fpath`, or by `source`. Where nothing fits, zsh
 * completes names of files.
 */
export const zshCompletion = (table: readonly Completions[]): string => `#compdef weft
# weft's completion for zsh: source <(weft completion zsh)
_weft_at() {
  names=() flags=() valued=() values=()
  case $1 in
${table.map(caseOf).join('\n')}
    *) return 1 ;;
  esac
}

_weft() {
  local -a names flags valued values choices
  local key= next flag= i
  for ((i = 2; i < CURRENT; i++)); do
    next="\${key:+$key }\${words[i]}"
    _weft_at "$next" && key=$next
  done
  _weft_at "$key"
  if [[ $PREFIX == --*=* ]]; then
    flag=\${PREFIX%%=*}
    compset -P '*='
  else
    choices=(\${(M)valued:#\${words[CURRENT-1]}:*})
    (( \${#choices} )) && flag=\${words[CURRENT-1]}
  fi
  if [[ -n $flag ]]; then
    choices=(\${=\${(M)values:#$flag *}#$flag })
    if (( \${#choices} )); then compadd -a choices; else _files; fi
  elif [[ $PREFIX == -* ]]; then
    _describe -o flag flags -- valued -S =
  elif (( \${#names} )); then
    _describe command names
  else
    _files
  fi
}

if [[ \${funcstack[1]} == _weft ]]; then _weft "$@"; else compdef _weft weft; fi`;

function caseOf({ key, names, flags }: Completions): string {
  const withValue = flags.filter(({ takesValue }) => takesValue);
  const choices = withValue.filter(({ values }) => values.length > 0);
  const lists = [
    ['names', names.map((name) => described(name))],
    ['flags', flags.filter(({ takesValue }) => !takesValue).map((flag) => described(flag, '--'))],
    ['valued', withValue.map((flag) => described(flag, '--'))],
    ['values', choices.map(({ name, values }: DescribedFlag) => quoted(`--${name} ${values.join(' ')}`))],
  ] as const;
  const sets = lists.filter(([, items]) => items.length > 0);
  return `    '${key}')\n${sets.map(([name, items]) => `      ${name}=(${items.join(' ')})`).join('\n')} ;;`;
}

/** A colon ends the name in what `_describe` reads. */
const described = ({ name, about }: Described, dashes = ''): string =>
  quoted(`${dashes}${name.replaceAll(':', '\\:')}:${about}`);

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
