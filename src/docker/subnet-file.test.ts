import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseEnv } from 'node:util';
import {
  formatSubnetFile,
  parseSubnetFile,
  readSubnetFile,
  type SubnetFile,
  writeSubnetFile,
} from '#src/docker/subnet-file.ts';
import { formatPrefix, type Prefix4, type Prefix6, parsePrefix4, parsePrefix6 } from '#src/lib/ip.ts';
import { systemFiles } from '#src/sys/files.ts';
import { scratchFolder } from '../../test/support/scratch-folder.ts';

const prefix = (text: string): Prefix4 => {
  const parsed = parsePrefix4(text);
  assert.ok(parsed);
  return parsed;
};
const CONTENT: SubnetFile = {
  networks: { v4: prefix('10.5.0.0/16') },
  subnets: { v4: prefix('10.5.26.0/24') },
  mtu: 1450,
  ipMasq: true,
};
const TEXT =
  'FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.26.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n';
const VALUES = {
  FLANNEL_NETWORK: '10.5.0.0/16',
  FLANNEL_SUBNET: '10.5.26.1/24',
  FLANNEL_MTU: '1450',
  FLANNEL_IPMASQ: 'true',
};

test('the text is flannel v0.9.1’s, byte for byte', () => {
  assert.equal(formatSubnetFile(CONTENT), TEXT);
});

const prefix6 = (text: string): Prefix6 => parsePrefix6(text) ?? assert.fail(text);
const V6 = { network: prefix6('fd00:10:5::/48'), subnet: prefix6('fd00:10:5:7::/64') };
const LINES_V6 = 'FLANNEL_IPV6_NETWORK=fd00:10:5::/48\nFLANNEL_IPV6_SUBNET=fd00:10:5:7::1/64\n';

test('the lines of IPv6 are flannel HEAD’s, between those of IPv4 and the MTU, and read back', () => {
  const both = {
    ...CONTENT,
    networks: { ...CONTENT.networks, v6: V6.network },
    subnets: { ...CONTENT.subnets, v6: V6.subnet },
  };
  assert.equal(formatSubnetFile(both), TEXT.replace('FLANNEL_MTU', `${LINES_V6}FLANNEL_MTU`));
  assert.deepEqual(parseSubnetFile(formatSubnetFile(both)), {
    networks: both.networks,
    subnets: both.subnets,
  });
  const alone = { ...CONTENT, networks: { v6: V6.network }, subnets: { v6: V6.subnet } };
  assert.equal(formatSubnetFile(alone), `${LINES_V6}FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n`);
  assert.deepEqual(parseSubnetFile('FLANNEL_IPV6_SUBNET=10.5.26.1/24\n').subnets, {});
});

/** What the CNI plugin does (flannel-io/cni-plugin, flannel.go): line by line, cut at the first `=`. */
const readLikeCni = (text: string): Record<string, string> =>
  Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split('=', 2)),
  );

/** systemd.exec(5), EnvironmentFile=: without quotes, backslashes and leading blanks a value is the rest of the line. */
const readLikeSystemd = (text: string): Record<string, string> => {
  assert.match(text, /^([A-Z_]+=[^\s"'\\#;]+\n)+$/);
  return readLikeCni(text);
};

test('a shell, systemd, the CNI plugin and dotenv read the same values', (t) => {
  const path = join(scratchFolder(t), 'subnet.env');
  writeFileSync(path, formatSubnetFile(CONTENT));
  const names = Object.keys(VALUES);
  const script = `set -eu; . ${path}; printf '%s\\n' ${names.map((name) => `"${name}=$${name}"`).join(' ')}`;
  const sourced = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8', env: {} });
  assert.deepEqual(readLikeCni(sourced.stdout), VALUES);
  assert.deepEqual(readLikeSystemd(formatSubnetFile(CONTENT)), VALUES);
  assert.deepEqual(readLikeCni(formatSubnetFile(CONTENT)), VALUES);
  assert.deepEqual({ ...parseEnv(formatSubnetFile(CONTENT)) }, VALUES);
});

const PREVIOUS: readonly [name: string, text: string, subnet: string | undefined][] = [
  ['as we write it, host bits cleared', TEXT, '10.5.26.0/24'],
  ['quoted and exported', 'export FLANNEL_SUBNET="10.5.26.1/24"\n', '10.5.26.0/24'],
  ['single quotes and a comment', "# by hand\nFLANNEL_SUBNET='10.5.26.1/24' # ours\n", '10.5.26.0/24'],
  ['DOS line ends, no last newline', 'FLANNEL_MTU=1450\r\nFLANNEL_SUBNET=10.5.26.1/24', '10.5.26.0/24'],
  ['the last of two', 'FLANNEL_SUBNET=10.5.1.1/24\nFLANNEL_SUBNET=10.5.2.1/24\n', '10.5.2.0/24'],
  ['a list, which flannel takes for none', 'FLANNEL_SUBNET=10.5.1.1/24,10.5.2.1/24\n', undefined],
  ['another family', 'FLANNEL_SUBNET=fd00::1/64\n', undefined],
  ['empty', '', undefined],
  ['half a line', 'FLANNEL_SUB', undefined],
  ['junk', '\0\x7f=\n===\n', undefined],
];

for (const [name, text, expected] of PREVIOUS) {
  test(`the previous subnet: ${name}`, () => {
    const subnet = parseSubnetFile(text).subnets.v4;
    assert.equal(subnet && formatPrefix(subnet), expected);
  });
}

test('it is written world-readable into a folder that need not exist, and no temporary file is left', async (t) => {
  const folder = join(scratchFolder(t), 'run', 'flannel');
  const path = join(folder, 'subnet.env');
  await writeSubnetFile(systemFiles, path, CONTENT);
  assert.equal(readFileSync(path, 'utf8'), TEXT);
  assert.equal(statSync(path).mode & 0o777, 0o644);
  assert.deepEqual(readdirSync(folder), ['subnet.env']);
  assert.deepEqual(await readSubnetFile(systemFiles, path), {
    networks: CONTENT.networks,
    subnets: CONTENT.subnets,
  });
});

test('an unchanged file is not written again', async (t) => {
  const path = join(scratchFolder(t), 'subnet.env');
  await writeSubnetFile(systemFiles, path, CONTENT);
  const { ino } = statSync(path);
  await writeSubnetFile(systemFiles, path, CONTENT);
  assert.equal(statSync(path).ino, ino);
  await writeSubnetFile(systemFiles, path, { ...CONTENT, ipMasq: false });
  assert.match(readFileSync(path, 'utf8'), /FLANNEL_IPMASQ=false\n$/);
});

test('a folder that can not be made is one line that names the file and the flag', async (t) => {
  const file = join(scratchFolder(t), 'file');
  writeFileSync(file, '');
  const path = join(file, 'subnet.env');
  await assert.rejects(writeSubnetFile(systemFiles, path, CONTENT), (error: Error & { remedy?: string }) => {
    assert.match(error.message, /^could not write the subnet file .*file\/subnet\.env: [A-Z]+: [^\n]*$/);
    assert.match(error.remedy ?? '', /--subnet-file/);
    return true;
  });
  assert.deepEqual(await readSubnetFile(systemFiles, path), { networks: {}, subnets: {} });
});
