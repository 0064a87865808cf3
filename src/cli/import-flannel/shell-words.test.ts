import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { commandsWith, shellWords } from '#src/cli/import-flannel/shell-words.ts';

const VALUES: Readonly<Record<string, string>> = { A: 'one', B: 'two  words', EMPTY: '' };
const PARAMETERS = ['-x', 'a b'];
const variables = { value: (name: string) => VALUES[name] ?? '', parameters: PARAMETERS };

/** What a real shell makes of it. */
function truth(command: string): string[] {
  const script = `p() { for word; do printf '%s\\0' "$word"; done; }; p ${command}`;
  const env = { ...VALUES, PATH: process.env.PATH };
  const { stdout } = spawnSync('sh', ['-c', script, 'sh', ...PARAMETERS], { encoding: 'utf8', env });
  return stdout.split('\0').slice(0, -1);
}

const COMMANDS = [
  'flanneld -etcd-endpoints=$A --ip-masq',
  'flanneld "-a=$B" $B',
  "flanneld 'a $B' \\$A \"it's\" ''",
  `flanneld -a=\${A} \${NONE:-\${A}} \${NONE:-x y} "\${NONE:-x y}" \${EMPTY:-"y z"} \${A:-no}`,
  'flanneld "$@" end',
  'flanneld $NONE "$NONE" a"b c"d',
  'flanneld a # and a comment',
  'flanneld -v=1 2>&1',
  'flanneld -v=1 && true',
];

for (const command of COMMANDS) {
  test(`as a shell has them: ${command}`, () => {
    assert.deepEqual(shellWords(command, variables), truth(command));
  });
}

test('what only a shell can know has no words', () => {
  for (const command of [
    'flanneld $(hostname)',
    'flanneld `id`',
    'flanneld "open',
    `flanneld \${A%x}`,
    'flanneld <(x)',
  ])
    assert.equal(shellWords(command, variables), undefined, command);
});

test('commands of a script: continued lines are one, comments are none', () => {
  const script = '#!/bin/sh\n# flanneld -x\nsleep 1\nexec flanneld \\\n  -a \\\n  -b\n';
  assert.deepEqual(commandsWith(script, /flanneld/), ['exec flanneld    -a    -b']);
});
