import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { bashCompletion } from '#src/cli/bash-completion.ts';
import { COMMANDS } from '#src/cli/commands.ts';
import { completionsOf } from '#src/cli/completion-table.ts';
import { fishCompletion } from '#src/cli/fish-completion.ts';
import { zshCompletion } from '#src/cli/zsh-completion.ts';

/*
 * The real shells read what weft prints, and are asked what they would complete.
 */
const table = await completionsOf(COMMANDS);

const missing = (shell: string): string | false =>
  spawnSync(shell, ['-c', 'true']).status === 0 ? false : `needs ${shell} (Debian package ${shell})`;

/** Runs a shell's script with the completion in a file, whose path is its first argument: the lines that it printed. */
function runIn(argv: readonly [string, ...string[]], completion: string, script: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'weft-completion-'));
  try {
    const [file, main] = [join(folder, 'completion'), join(folder, 'main')];
    writeFileSync(file, completion);
    writeFileSync(main, script);
    const [shell, ...flags] = argv;
    const { stdout, stderr, status } = spawnSync(shell, [...flags, main, file], {
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.equal(stderr, '');
    assert.equal(status, 0);
    return stdout.split('\n').slice(0, -1);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Each command line with what shall be offered for its last word, in the words that the shell has split it into. */
interface Case {
  readonly words: readonly string[];
  readonly offered: readonly string[];
}

const quoted = (text: string): string => `'${text}'`;

const BASH: readonly Case[] = [
  { words: ['pe'], offered: ['peers'] },
  { words: ['--'], offered: ['--help'] },
  { words: ['completion', ''], offered: ['bash', 'zsh', 'fish'] },
  { words: ['peers', 'd'], offered: ['degraded', 'down'] },
  { words: ['peers', '10.5.2.1', '--js'], offered: ['--json'] },
  { words: ['--json', 'leases', '--etcd-ap'], offered: ['--etcd-api='] },
  { words: ['leases', '--etcd-api', '=', ''], offered: ['auto', 'v2', 'v3'] },
  { words: ['leases', '--etcd-api', '='], offered: ['auto', 'v2', 'v3'] },
  { words: ['lab', 'up', '--store', 'em'], offered: ['embedded'] },
  { words: ['lab', 'up', '--name', ''], offered: [] },
  { words: ['network', 'l'], offered: ['ls'] },
  { words: ['network', 'ls', '--js'], offered: ['--json'] },
  { words: ['nothing', 'l'], offered: ['lab', 'leases'] },
];

test('bash completes commands, subcommands, flags and values', { skip: missing('bash') }, () => {
  const lines = runIn(
    ['bash', '--norc'],
    bashCompletion(table),
    `source "$1"
     offer() { COMP_WORDS=(weft "$@"); COMP_CWORD=$#; COMPREPLY=(); _weft; echo "\${COMPREPLY[*]}"; }
     ${BASH.map(({ words }) => `offer ${words.map(quoted).join(' ')}`).join('\n')}
     complete -p weft`,
  );
  assert.deepEqual(lines, [
    ...BASH.map(({ offered }) => offered.join(' ')),
    'complete -o default -F _weft weft',
  ]);
});

test('bash offers every command', { skip: missing('bash') }, () => {
  const [line] = runIn(
    ['bash', '--norc'],
    bashCompletion(table),
    `source "$1"; COMP_WORDS=(weft ""); COMP_CWORD=1; _weft; echo "\${COMPREPLY[*]}"`,
  );
  assert.deepEqual((line ?? '').split(' '), Object.keys(COMMANDS));
});

const FISH: readonly Case[] = [
  { words: ['pe'], offered: ['peers'] },
  { words: ['peers', 'do'], offered: ['down'] },
  { words: ['peers', '10.5.2.1', '--js'], offered: ['--json'] },
  { words: ['lab', 'up', '--store='], offered: ['--store=embedded', '--store=etcd'] },
  { words: ['lab', 'up', '--store', 'em'], offered: ['embedded'] },
  { words: ['network', 'l'], offered: ['ls'] },
  { words: ['network', 'ls', '--js'], offered: ['--json'] },
];

test('fish completes the same', { skip: missing('fish') }, () => {
  const lines = runIn(
    ['fish', '--no-config'],
    fishCompletion(table),
    `source $argv[1]
     ${FISH.map(({ words }) => `string join -- , (complete -C 'weft ${words.join(' ')}' | string replace -r '\\t.*' '')`).join('\n')}
     true`,
  );
  assert.deepEqual(
    lines,
    FISH.map(({ offered }) => offered.join(',')),
  );
});

const ZSH: readonly Case[] = [
  { words: ['peers', ''], offered: ['up', 'degraded', 'down', 'missing', 'quarantined', 'unmeasured'] },
  { words: ['lab', 'up', '--store='], offered: ['embedded', 'etcd'] },
  { words: ['lab', 'up', '--store', ''], offered: ['embedded', 'etcd'] },
  { words: ['lab', 'up', '--name', ''], offered: ['FILES'] },
  { words: ['network', ''], offered: ['ls', 'add', 'change', 'create', 'inspect', 'rm'] },
  { words: ['plan', ''], offered: ['FILES'] },
];

test('zsh offers the same for its last word', { skip: missing('zsh') }, () => {
  // Its completion system answers only on a terminal, so that what is handed to it is printed here.
  const lines = runIn(
    ['zsh', '-f'],
    zshCompletion(table),
    `compdef() { }
     source $1
     _describe() {
       local list
       for list in "$@"; do [[ $list == (names|flags|valued) ]] && print -r -- \${(@)\${(P@)list}%%:*}; done
     }
     compadd() { print -r -- \${(P@)2} }
     compset() { PREFIX=\${PREFIX#*=} }
     _files() { print FILES }
     offer() { words=(weft "$@"); CURRENT=$#words; PREFIX=$words[-1]; _weft; }
     ${ZSH.map(({ words }) => `offer ${words.map(quoted).join(' ')}`).join('\n')}`,
  );
  assert.deepEqual(
    lines,
    ZSH.map(({ offered }) => offered.join(' ')),
  );
});

test('zsh completes a word on a terminal', { skip: missing('zsh') }, () => {
  const [line] = runIn(
    ['zsh', '-f'],
    zshCompletion(table),
    `zmodload zsh/zpty
     zpty shell zsh -f -i
     zpty -w shell "PS1=; autoload -Uz compinit; compinit -u -D; source $1; echo rea''dy"
     zpty -r shell seen '*ready*'
     zpty -w -n shell $'weft network insp\\t'
     zpty -r shell seen '*inspect*' && print completed
     zpty -d shell`,
  );
  assert.equal(line, 'completed');
});
