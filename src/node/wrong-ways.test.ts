import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RouteDecision, RouteQuestion } from '#src/kernel/route-question.ts';
import { formatIp, ipv4, type Prefix4, parsePrefix4 } from '#src/lib/ip.ts';
import { findWrongWays, type WantedWays } from '#src/node/wrong-ways.ts';

const prefix = (text: string): Prefix4 => parsePrefix4(text) ?? assert.fail(text);
const WAYS: WantedWays = {
  subnet: prefix('10.0.65.0/24'),
  peers: [prefix('10.0.32.0/24'), prefix('10.0.33.0/24')],
  devices: ['flannel.1'],
  bridge: { name: 'docker0', address: ipv4(0x0a004101) },
};

const way = (device: string, table = 254, type: 'unicast' | 'local' = 'unicast'): RouteDecision => ({
  outcome: 'way',
  type,
  device,
  table,
});
const refused = (errno: string): RouteDecision => ({ outcome: 'refused', errno, message: errno });
const right = ({ by }: RouteQuestion): RouteDecision => way(by === 'flannel.1' ? 'docker0' : 'flannel.1');

const find = (
  decide: (question: RouteQuestion) => RouteDecision,
  { ways = WAYS, files = {} }: { ways?: WantedWays; files?: Readonly<Record<string, string>> } = {},
) =>
  findWrongWays(
    { kernel: { decide: async (it) => decide(it) }, files: { read: async (path) => files[path] } },
    ways,
  );

test('the kernel is asked for both directions, with addresses that containers could have', async () => {
  const asked: string[] = [];
  const found = await find((question) => {
    const { to, from, by } = question;
    asked.push(`${formatIp(to)} from ${from && formatIp(from)} iif ${by}`);
    return right(question);
  });
  assert.deepEqual(found, []);
  assert.deepEqual(asked.slice(0, 2), [
    '10.0.32.254 from 10.0.65.254 iif docker0',
    '10.0.65.254 from 10.0.32.254 iif flannel.1',
  ]);
  assert.equal(asked.length, 4);
});

test('without a bridge only the own packets to peers count', async () => {
  const { bridge: _, ...ways } = WAYS;
  const found = await find(({ by }) => way(by === undefined ? 'eth1' : 'nowhere'), { ways });
  assert.deepEqual(found, [
    'packets to 10.0.32.0/24 and 1 more leave by eth1 instead of flannel.1: another route takes them; "ip route get 10.0.32.254" shows it',
  ]);
});

test('a rule that leads to another table is named by that table, once for all peers', async () => {
  assert.deepEqual(await find(() => way('eth0', 100)), [
    'packets from docker0 to 10.0.32.0/24 and 1 more leave by eth0 instead of flannel.1: routing table 100 comes first; "ip rule" shows the rule that leads there',
  ]);
});

test('forwarding that is off is named with the command that turns it on', async () => {
  const files = { '/proc/sys/net/ipv4/conf/docker0/forwarding': '0\n' };
  assert.deepEqual(await find(() => refused('EHOSTUNREACH'), { files }), [
    'docker0 forwards no packets: its forwarding is off; run "sysctl -w net.ipv4.conf.docker0.forwarding=1"',
  ]);
});

test('each refusal of the kernel has words of its own', async () => {
  for (const [errno, words] of [
    ['ENETUNREACH', /are not forwarded: there is no route/],
    ['EACCES', /prohibits them/],
    ['EINVAL', /throws them away/],
    ['EXDEV', /source check of docker0 \(rp_filter\)/],
    ['EHOSTUNREACH', /makes them unreachable/],
    ['EIO', /EIO \(EIO\)/],
  ] as const)
    assert.match((await find(() => refused(errno))).join(), words, errno);
});

test('packets from peers that do not reach the bridge are found as well', async () => {
  const found = await find((question) =>
    question.by === 'docker0' ? right(question) : way('lo', 255, 'local'),
  );
  assert.equal(found.length, 1);
  assert.match(
    found.join(),
    /^packets from 10\.0\.32\.0\/24 and 1 more on flannel\.1 to 10\.0\.65\.0\/24 end on this host \(lo\) instead of docker0: routing table 255/,
  );
});

test("the bridge's own address is no container's", async () => {
  const asked: string[] = [];
  const bridge = { name: 'docker0', address: ipv4(0x0a0041fe) };
  await find(
    (question) => {
      asked.push(formatIp(question.to));
      return right(question);
    },
    { ways: { ...WAYS, bridge } },
  );
  assert.equal(asked[1], '10.0.65.253');
});
