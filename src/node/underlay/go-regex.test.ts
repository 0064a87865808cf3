import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compileGoRegex } from '#src/node/underlay/go-regex.ts';

/** As Go 1.26's regexp.MatchString answers each of them. */
const MATCHES: readonly (readonly [expression: string, text: string, matches: boolean])[] = [
  ['^eth[[:digit:]]+$', 'eth0', true],
  ['^eth[[:digit:]]+$', 'ethx', false],
  ['(?i)^ETH', 'eth0', true],
  ['^eth0\\z', 'eth0', true],
  ['\\Q172.16.70.\\E', '172.16.70.191', true],
  ['\\Q172.16.70.\\E', '172x16x70x191', false],
  ['wlan0|eth0]|eth0', 'eth0', true],
  ['(?P<card>eth.*)', 'eth0', true],
  ['^eth\\-?0', 'eth0', true],
  ['\\A172\\.16\\.', '172.16.70.191', true],
  ['172\\.16\\.70\\.\\d{1,3}$$', '172.16.70.191', true],
  ['^192[.]168[.]|^172[.]16[.]', '172.16.70.191', true],
  ['eth', 'veth0', true],
  ['', 'eth0', true],
  // Without the flag m, $ is the end of the text and not of a line.
  ['eth0$', 'eth0\n', false],
];
for (const [expression, text, matches] of MATCHES) {
  test(`/${expression}/ ${matches ? 'matches' : 'does not match'} ${JSON.stringify(text)}`, async () => {
    assert.equal((await compileGoRegex(expression))(text), matches);
  });
}

for (const expression of ['(eth', 'eth[0', '(?=eth)', '\\1', 'a{1001}', '[z-a]', '*']) {
  test(`/${expression}/ is refused in one line, as in Go`, async () => {
    await assert.rejects(compileGoRegex(expression), (error: Error) => {
      assert.match(error.message, /is not a regular expression: error parsing regexp: /);
      return !error.message.includes('\n');
    });
  });
}

test('an expression that would take a backtracking engine years is matched at once', async () => {
  assert.equal((await compileGoRegex('^(a+)+$'))(`${'a'.repeat(200)}!`), false);
});
