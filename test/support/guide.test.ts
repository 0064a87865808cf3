import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseGuide } from './guide.ts';
import { matchOutput, withExamples } from './guide-output.ts';
import { GuideRun, notExecuted, reasonsNotToRun } from './guide-run.ts';

const GUIDE = `# From nothing
## Install
**On each server:** get it,

\`\`\`sh not-run="needs the internet"
wget URL
\`\`\`

and install it.

\`\`\`sh
apt install ./weft.deb
\`\`\`

1. **On Server_2 and Server_3, one after the other:**

   \`\`\`sh within=20s
   cat > /etc/file <<'EOF'
     indented
   EOF
   \`\`\`

## Look
**On Server_2:**

\`\`\`sh exit=3
weft address
\`\`\`

\`\`\`text varies="1.5" yours="10.0.65.2"
address 10.0.65.2 after 1.5 s
…
\`\`\`
`;

test('a guide is its scripts, each with its place and what it prints', () => {
  const { blocks } = parseGuide('g.md', GUIDE);
  const common = { inTurn: false, exitCode: 0, withinMs: 0, notRun: undefined, expected: undefined };
  assert.deepEqual(blocks, [
    {
      ...common,
      at: 'g.md:5',
      heading: 'Install',
      place: 'each server',
      script: 'wget URL',
      notRun: 'needs the internet',
    },
    { ...common, at: 'g.md:11', heading: 'Install', place: 'each server', script: 'apt install ./weft.deb' },
    {
      ...common,
      at: 'g.md:17',
      heading: 'Install',
      place: 'Server_2 and Server_3',
      inTurn: true,
      script: "cat > /etc/file <<'EOF'\n  indented\nEOF",
      withinMs: 20_000,
    },
    {
      ...common,
      at: 'g.md:26',
      heading: 'Look',
      place: 'Server_2',
      script: 'weft address',
      exitCode: 3,
      expected: { text: 'address 10.0.65.2 after 1.5 s\n…', varies: ['1.5'], yours: ['10.0.65.2'] },
    },
  ]);
});

test('a block that nobody could follow is refused, with its line', () => {
  const refused: readonly (readonly [markdown: string, why: RegExp])[] = [
    ['```sh\nls\n```', /g\.md:1: no place/],
    ['**On A:**\n\n# Next\n\n```sh\nls\n```', /g\.md:5: no place/],
    ['**On A:**\n```\nls\n```', /g\.md:2: a block is/],
    ['**On A:**\n```console\n$ ls\n```', /g\.md:2: a block is/],
    ['**On A:**\n```sh\nls', /g\.md:2: the block has no end/],
    ['**On A:**\n```sh\nls\n```\nprints\n```text\nx\n```', /g\.md:6: an output without/],
    ['**On A:**\n```sh run=no\nls\n```', /has no run=/],
    ['**On A:**\n```sh please\nls\n```', /not understood: "please"/],
    ['**On A:**\n```sh not-run=""\nls\n```', /not-run has no reason/],
    ['**On A:**\n```sh within=2m\nls\n```', /no such number/],
  ];
  for (const [markdown, why] of refused) assert.throws(() => parseGuide('g.md', markdown), why);
});

test('an output is compared by its words, dots for what is left out, and examples for what varies', () => {
  const match = (text: string, yours: string[], output: string, known = new Map<string, string>()) => {
    const found = matchOutput({ text, varies: ['many'], yours }, output, known);
    return found && Object.fromEntries(found);
  };
  assert.deepEqual(match('a  b', [], 'a b\n'), {});
  assert.equal(match('a b', [], 'a b c\n'), undefined);
  assert.equal(match('a.b', [], 'axb'), undefined);
  assert.deepEqual(match('a … c', [], 'a bb b c'), {});
  assert.equal(match('a … c', [], 'a\nc'), undefined);
  assert.deepEqual(match('a\n…\nz', [], 'a\nb\nc\nz'), {});
  assert.equal(match('a\n…\nz', [], 'a\nb\nc'), undefined);
  assert.deepEqual(match('subnet 10.0.65.1/24', ['10.0.65'], 'subnet   10.0.7.1/24'), {
    '10.0.65': '10.0.7',
  });
  assert.deepEqual(match('1.5 of 1.5', ['1.5'], '2 of 2'), { '1.5': '2' });
  assert.equal(match('1.5 of 1.5', ['1.5'], '2 of 3'), undefined);
  assert.deepEqual(match('id f3a9', ['f3a9'], 'id 00c'), { f3a9: '00c' });
  assert.deepEqual(match('many of 5', ['5'], 'few of 6'), { '5': '6' });
  assert.deepEqual(match('70.190 0.1', ['0.1'], '70.190 2.6'), { '0.1': '2.6' });
  assert.equal(match('count 5', ['5'], 'count many'), undefined);
  const known = new Map([['10.0.65.2', '10.0.7.2']]);
  assert.deepEqual(match('from 10.0.65.2', [], 'from 10.0.7.2', known), {});
  assert.equal(match('from 10.0.65.2', [], 'from 10.0.65.2', known), undefined);
});

test('a later script has what was seen in place of the example, and nothing that only looks like it', () => {
  const examples = new Map([
    ['10.0.65.2', '10.0.7.2'],
    ['10.0.65', '10.0.7'],
  ]);
  assert.equal(
    withExamples('ping 10.0.65.2 10.0.65.0/24 110.0.65.2 10.0.65.22', examples),
    'ping 10.0.7.2 10.0.7.0/24 110.0.65.2 10.0.7.22',
  );
});

/** A machine on which no program exists: what was typed is what is printed. */
const echo = (name: string) => ({
  name,
  typed: [] as string[],
  async run(argv: readonly string[]) {
    const script = argv.at(-1) ?? '';
    this.typed.push(script);
    return { code: script.startsWith('false') ? 1 : 0, stdout: `${name}: ${script}\n`, stderr: '' };
  },
});

test('a run types each script on its machines, and stops at the first that is not as the page says', async (t) => {
  const guide = parseGuide(
    'g.md',
    '**On A:**\n```sh\nname 5\n```\n```text yours="5"\nA: name 5\n```\n' +
      '**On both:**\n```sh\nuse 5\n```\n```sh not-run="no"\nx\n```\n```sh exit=1\nfalse\n```\n',
  );
  const [a, b] = [echo('A'), echo('B')];
  const run = new GuideRun((place) => ({ A: [a], both: [a, b] })[place]);
  await run.follow(t, guide);
  assert.deepEqual(a.typed, ['name 5', 'use 5', 'false']);
  assert.deepEqual(b.typed, ['use 5', 'false']);
  assert.deepEqual(notExecuted([guide], [run]), []);
  assert.deepEqual(reasonsNotToRun([guide]), { no: 1 });
  assert.deepEqual(notExecuted([guide], []), ['g.md:2: name 5', 'g.md:9: use 5', 'g.md:15: false']);
  await assert.rejects(
    new GuideRun((place) => ({ A: [a] })[place]).follow(t, guide),
    /g\.md:9: the test has no place "both"/,
  );
  await assert.rejects(run.follow(t, guide, ['Nowhere']), /g\.md has no scripts below "Nowhere"/);
});

test('a mistake in a guide fails the test: another output, another exit code, a script after it', async () => {
  const mistakes: readonly (readonly [blocks: string, why: RegExp])[] = [
    [
      '```sh\nname\n```\n```text\nA: game\n```',
      /^g\.md:2 on A: exit code 0.*A: name\n\nexpected:\nA: game$/s,
    ],
    ['```sh\nfalse\n```', /^g\.md:2 on A: exit code 1, not as the page says\n\$ false\n/],
    ['```sh exit=1\nname\n```', /^g\.md:2 on A: exit code 0/],
    ['```sh within=1s\nname\n```\n```text\nA: game\n```', /^g\.md:2 on A: exit code 0/],
  ];
  for (const [blocks, why] of mistakes) {
    const errors: unknown[] = [];
    const guide = parseGuide('g.md', `**On A:**\n${blocks}\n\`\`\`sh\nnever\n\`\`\``);
    const machine = echo('A');
    const run = new GuideRun(() => [machine]);
    await run.follow({ test: (_, part) => part().catch((error) => errors.push(error)) }, guide);
    assert.equal(errors.length, 1);
    assert.match((errors[0] as Error).message, why);
    assert.ok(!machine.typed.includes('never'));
    assert.ok(notExecuted([guide], [run]).length === 2, 'neither the block nor the next one counts');
  }
});
