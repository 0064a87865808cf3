import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemCommands } from '#src/sys/command.ts';
import { WEFT } from '../support/flanneld.ts';
import { cannotRun } from '../support/test-lab.ts';

const skip = cannotRun('ping', 'tcpdump', 'nft', 'iptables');
const QUICKSTART = fileURLToPath(new URL('../../script/quickstart', import.meta.url));
/** As on a machine without their programs: in a mount namespace of its own; $@ is the command. */
const HIDE = `
for name in etcd etcdctl dockerd docker; do
  path=$(command -v $name) && mount -n --bind /dev/null "$path"
done
! etcd --version 2>/dev/null && exec "$@"`;

const quickstart = (words: readonly string[], hide: readonly string[] = []) =>
  systemCommands.run([...hide, QUICKSTART, ...words] as [string, ...string[]], { timeoutMs: 240_000 });
const down = (t: TestContext, name: string): void =>
  t.after(() => systemCommands.run([WEFT, 'lab', 'down', `--name=${name}`]));
const namespacesOf = (name: string): string[] =>
  readdirSync('/run/netns').filter((it) => it.startsWith(`weft-${name}-`));

test('the quickstart needs neither etcd nor Docker, ends with the frame on the wire, and leaves nothing', {
  skip,
}, async (t) => {
  const name = `t${process.pid}quick`;
  down(t, name);
  const { code, stdout, stderr } = await quickstart(
    [`--name=${name}`],
    ['unshare', '--mount', 'sh', '-c', HIDE, 'sh'],
  );
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^2 of 2 answered$/m);
  assert.match(stdout, /^✗ nftables-drops: .*table ip mistake, chain forward[\s\S]*^\d+ checks, 1 wrong,/m);
  assert.match(stdout, /^the rule is removed.*\n.*\n\d+ checks, 0 wrong, \d+ could not look$/m);
  assert.match(stdout, /^1\. h1\/c1: .*\n {5}\$ ip route get 10\.0\.\d+\.2$/m);
  assert.match(
    stdout,
    /VXLAN {5}flags 0x08, network \(VNI\) 1\n +Ethernet .*\n +IP {8}10\.0\.\d+\.2 > 10\.0\.\d+\.2 /,
  );
  assert.match(
    stdout,
    /^7\. h2: .*\n( {5}.*\n)+ {5}ping 10\.0\.\d+\.2: answered in [\d.]+ ms\nlab \w+ is gone\n$/m,
  );
  assert.deepEqual(namespacesOf(name), []);
});

test('with Docker it goes on: two networks with one subnet, and a container that moves under a ping', {
  skip: skip || cannotRun('dockerd', 'docker', 'busybox'),
}, async (t) => {
  const name = `t${process.pid}docker`;
  down(t, name);
  const { code, stdout, stderr } = await quickstart([`--name=${name}`, '--docker']);
  assert.equal(code, 0, stdout + stderr);
  const [first = '', networks = '', move = ''] = stdout.split(/^== (?:two of Docker's|a container of blue)/m);
  assert.match(first, /^6 of 6 answered$/m);
  assert.match(first, /^7\. h2: /m);
  assert.match(networks, /^h3\$ docker network ls .*\n.*\n\w+ +blue +weft +local\n\w+ +red +weft +local$/m);
  assert.match(
    networks,
    /^12 of 12 answered\nfrom blue to red: 0 of 6 arrived\nfrom red to blue: 0 of 6 arrived$/m,
  );
  const shown = [...move.matchAll(/^(h\d)\$ docker inspect web: +IPAddress (\S+) +MacAddress (\S+)$/gm)];
  assert.deepEqual(
    shown.map(([, ...words]) => words),
    [
      ['h1', '10.5.0.50', '02:42:0a:05:00:32'],
      ['h3', '10.5.0.50', '02:42:0a:05:00:32'],
    ],
  );
  assert.match(move, / time=.*\n(no answer yet for icmp_seq=\d+\n)+.* time=/);
  const [, sent = '0', received = '0'] = /^(\d+) packets transmitted, (\d+) received/m.exec(move) ?? [];
  assert.ok(Number(received) >= 10 && Number(received) < Number(sent), move);
  assert.match(move, /^lab \w+ is gone\n$/m);
  assert.deepEqual(namespacesOf(name), []);
});

test('--keep leaves the lab, and says how to take it away', { skip }, async (t) => {
  const name = `t${process.pid}keep`;
  down(t, name);
  const { code, stdout, stderr } = await quickstart([`--name=${name}`, '--keep']);
  assert.equal(code, 0, stdout + stderr);
  assert.match(
    stdout,
    new RegExp(`== the lab stays\\n.*http://127.0.0.1:8475/: +bin/weft lab ui --name=${name}\\n`),
  );
  assert.match(stdout, new RegExp(`bin/weft lab down --name=${name}\\n$`));
  assert.notDeepEqual(namespacesOf(name), []);
});

test('an unknown option gets one line', { skip }, async () => {
  const { code, stderr } = await quickstart(['--dokcer']);
  assert.deepEqual([code, stderr], [2, 'usage: script/quickstart [--keep] [--docker] [--name=NAME]\n']);
});
