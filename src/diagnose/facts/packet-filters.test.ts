import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readPacketFilters } from '#src/diagnose/facts/packet-filters.ts';
import type { CommandRunner } from '#src/sys/command.ts';

const ANSWERS: Readonly<Record<string, string>> = {
  'iptables --version': 'iptables v1.8.9 (nf_tables)',
  'iptables-save': '*filter\n:FORWARD DROP [0:0]\nCOMMIT\n',
  'ip6tables-save': '',
  'nft -j list ruleset': '{"nftables":[{"table":{"family":"inet","name":"firewalld"}}]}',
};

const hostWith = (codes: Readonly<Record<string, number>>): { commands: CommandRunner } => ({
  commands: {
    async run(argv) {
      const line = argv.join(' ');
      const stdout = ANSWERS[line];
      return { code: codes[line] ?? (stdout === undefined ? 127 : 0), stdout: stdout ?? '', stderr: '' };
    },
  },
});

test('filters of each program that there is', async () => {
  const { iptables, nftables } = await readPacketFilters(hostWith({}));
  assert.deepEqual(
    iptables.map(({ program }) => program),
    ['iptables', 'ip6tables'],
  );
  assert.equal(nftables.length, 1);
  assert.equal((await readPacketFilters(hostWith({ 'nft -j list ruleset': 127 }))).nftables.length, 0);
});

for (const program of ['iptables --version', 'iptables-save', 'ip6tables-save', 'nft -j list ruleset'])
  test(`"${program}" that is killed is no sign of a host without rules`, async () => {
    const read = readPacketFilters(hostWith({ [program]: 137 }));
    await assert.rejects(read, { code: 'firewall', message: new RegExp(`"${program}" ended with 137`) });
  });
