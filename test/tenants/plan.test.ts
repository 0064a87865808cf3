import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import type { TenantHost } from '../support/docker-tenant-host.ts';
import {
  cannotRunTenants,
  createTenant,
  sharedTenants,
  type Tenants,
  twoOf,
} from '../support/docker-tenants.ts';
import { PREFIX, WEFT } from '../support/flanneld.ts';
import { waitForAnswer } from '../support/pings.ts';
import { tenantListing } from '../support/tenant-listing.ts';

/*
 * What weft plan says of Docker's networks on h1, whose flanneld is stopped, with containers in two networks:
 *
 *     store .190     h1 .191 (flanneld), dockerd, red1, blue1     h2 .192 flanneld, dockerd, red2, blue2
 */
const skip = cannotRunTenants();
const RED = 70_301;
const BLUE = 70_302;
const NOTHING = '# nothing to change: the host is as wanted\n';
const tenants = sharedTenants(skip, {}, (all) => prepare(all));

async function prepare(all: Tenants): Promise<void> {
  const [one, two] = twoOf(all);
  await createTenant(all, 'red', {
    subnet: '10.83.0.0/24',
    vni: RED,
    words: ['--ipv6', '--subnet', 'fd00:83::/64'],
  });
  // The same subnet, and the same addresses.
  await createTenant(all, 'blue', { subnet: '10.83.0.0/24', vni: BLUE });
  for (const name of ['red', 'blue']) {
    await one.run(`${name}1`, name, ['--ip', '10.83.0.11']);
    await two.run(`${name}2`, name, ['--ip', '10.83.0.12']);
  }
  await answers(one);
  await recorded(all);
  await one.stopFlanneld();
}

/** A host writes which networks it has a moment after they came. */
async function recorded({ lab, store }: Tenants): Promise<void> {
  const hosts = `${PREFIX}/tenants/hosts/`;
  const question = ['get', '--prefix', hosts, '--print-value-only'];
  await until(
    async () => {
      const answer = await lab.store.must([
        'etcdctl',
        `--endpoints=${store.endpoints.join(',')}`,
        ...question,
      ]);
      const records = answer.trim().split('\n');
      return (
        records.length === 2 && records.every((line) => Object.keys(JSON.parse(line).docker).length === 2)
      );
    },
    { what: 'both networks in the records of both hosts', timeoutMs: 20_000, intervalMs: 200 },
  );
}

async function answers(one: TenantHost): Promise<void> {
  for (const name of ['red1', 'blue1']) {
    const container = await one.docker.container(name);
    assert.ok(container);
    await waitForAnswer(container, '10.83.0.12');
  }
}

/** What h1 has of its tenants, and the book. */
async function listing(one: TenantHost): Promise<string[]> {
  const containers = await Promise.all(['red1', 'blue1'].map((name) => one.docker.container(name)));
  const book = await one.host.must(['cat', '/var/lib/weft/docker.json']);
  return [
    ...(await tenantListing(
      one,
      containers.filter((it) => it !== undefined),
    )),
    book,
  ];
}

/** Waits until h1 has this, and nothing else: the kernel notes a bridge's carrier up to a second later. */
async function isListed(one: TenantHost, wanted: readonly string[]): Promise<void> {
  let now: string[] = [];
  const isSo = async (): Promise<boolean> => {
    now = await listing(one);
    return now.join('\n') === wanted.join('\n');
  };
  await until(isSo, { what: 'the same state' }).catch(() => assert.deepEqual(now, wanted));
}

/** Keys with their revisions; without those that show that a host lives. */
async function registry({ lab, store }: Tenants): Promise<string[]> {
  const client = ['etcdctl', `--endpoints=${store.endpoints.join(',')}`] as const;
  const answer = await lab.store.must([...client, 'get', '--prefix', PREFIX, '-w', 'json']);
  const { kvs } = JSON.parse(answer) as { kvs: { key: string; mod_revision: number }[] };
  return kvs
    .map(({ key, mod_revision }) => `${Buffer.from(key, 'base64')} ${mod_revision}`)
    .filter((line) => !line.includes('/tenants/alive/'));
}

const portOf = async (one: TenantHost, container: string, network: string): Promise<string> =>
  `p${(await one.attachment(container, network))?.EndpointID.slice(0, 13)}`;

test('a host at rest: there is nothing to change, and nothing is changed', { skip }, async () => {
  const all = tenants();
  const [one] = twoOf(all);
  const before = [await listing(one), await registry(all)];
  assert.equal(await one.mustWeft(['plan']), NOTHING);
  assert.deepEqual([await listing(one), await registry(all)], before);
});

test('drift: plan names what the next start does, in commands that do it', { skip }, async () => {
  const all = tenants();
  const [one] = twoOf(all);
  const right = await listing(one);
  const [mac, address] = [(await twoOf(all)[1].attachment('blue2', 'blue'))?.MacAddress, '10.83.0.12'];
  const port = await portOf(one, 'red1', 'red');
  const harm = async (): Promise<void> => {
    await one.inTenants(['ip', 'link', 'del', `br-${RED}`]);
    await one.inTenants(['bridge', 'fdb', 'del', `${mac}`, 'dev', `vx-${BLUE}`, 'self']);
    await one.inTenants(['ip', 'neigh', 'del', address, 'dev', `br-${BLUE}`]);
    await one.host.must(['nft', 'flush', 'set', 'inet', 'weft-tenants', 'vteps4']);
  };
  await harm();
  const drifted = [await listing(one), await registry(all)];
  const plan = await one.mustWeft(['plan']);
  assert.deepEqual([await listing(one), await registry(all)], drifted);
  const has = (line: string): void => assert.ok(plan.includes(line), `${line} in:\n${plan}`);
  has(`ip netns exec weft ip link add br-${RED} `);
  has(`ip netns exec weft ip link set vx-${RED} master br-${RED}`);
  has(`ip netns exec weft ip link set ${port} master br-${RED}`);
  has(`ip netns exec weft bridge fdb replace ${mac} dev vx-${BLUE} dst ${twoOf(all)[1].address}`);
  has(`ip netns exec weft ip neigh replace ${address} lladdr ${mac} dev br-${BLUE}`);
  has("nft -f - <<'END'");
  // The other bridge, its device and its port are as they were.
  assert.doesNotMatch(plan, new RegExp(`link (add|set|del) \\S*${BLUE}`));
  await one.startFlanneld();
  await answers(one);
  await one.stopFlanneld();
  await isListed(one, right);
  assert.equal(await one.mustWeft(['plan']), NOTHING);
  await harm();
  await one.host.must(['sh', '-c', plan]);
  await isListed(one, right);
  assert.equal(await one.mustWeft(['plan']), NOTHING);
  await answers(one);
});

test('a removed port, and what Docker did in the container', { skip }, async () => {
  const [one] = twoOf(tenants());
  const right = await listing(one);
  const port = await portOf(one, 'red1', 'red');
  await one.inTenants(['ip', 'link', 'del', port]);
  const plan = await one.mustWeft(['plan']);
  for (const part of [
    `ip netns exec weft ip link add ${port} `,
    ' ip address add 10.83.0.11/24 dev eth0',
    ' ip address add fd00:83::',
    ' ip link set eth0 up',
  ])
    assert.ok(plan.includes(part), `${part} in:\n${plan}`);
  await one.startFlanneld();
  await answers(one);
  await one.stopFlanneld();
  await isListed(one, right);
  assert.equal(await one.mustWeft(['plan']), NOTHING);
});

test('what nobody wants would be removed; without a book nothing would', { skip }, async () => {
  const [one] = twoOf(tenants());
  await one.inTenants(['ip', 'link', 'add', 'br-99', 'type', 'bridge']);
  assert.equal(await one.mustWeft(['plan']), 'ip netns exec weft ip link del br-99\n');
  await one.host.must(['mv', '/var/lib/weft/docker.json', '/var/lib/weft/docker.json.aside']);
  const plan = await one.mustWeft(['plan']);
  assert.match(plan, /^# Docker's networks: Docker gets these networks, unless it has them: blue, red$/m);
  assert.match(
    plan,
    /^# Docker's networks: which of Docker's containers .* is not known before Docker is asked$/m,
  );
  assert.doesNotMatch(plan, /link del/);
  assert.equal((await one.host.run(['ls', '/var/lib/weft/docker.json'])).code, 2);
  await one.host.must(['mv', '/var/lib/weft/docker.json.aside', '/var/lib/weft/docker.json']);
  await one.inTenants(['ip', 'link', 'del', 'br-99']);
});

test('without its namespace all would be made, in a new one; and nothing is made', { skip }, async () => {
  const [one] = twoOf(tenants());
  await one.host.must(['ip', 'netns', 'del', 'weft']);
  const json = JSON.parse(await one.mustWeft(['plan', '--json'])) as { commands: string[] };
  assert.equal(json.commands[0], 'ip netns add weft');
  for (const part of [`ip link add br-${RED} `, `ip link add vx-${BLUE} `, 'sysctl -w net/ipv4/ip_forward=0'])
    assert.ok(
      json.commands.some((command) => command.startsWith(`ip netns exec weft ${part}`)),
      `${part} in:\n${json.commands.join('\n')}`,
    );
  assert.doesNotMatch(await one.host.must(['ip', 'netns']), /weft/);
  await one.startFlanneld();
  await answers(one);
  await one.stopFlanneld();
  assert.equal(await one.mustWeft(['plan']), NOTHING);
});

test('plan beside a flanneld that runs, and where the driver is off', { skip }, async () => {
  const [one] = twoOf(tenants());
  await one.startFlanneld();
  assert.equal(await one.mustWeft(['plan']), NOTHING);
  await one.stopFlanneld();
  await one.inTenants(['ip', 'link', 'del', `vx-${BLUE}`]);
  const planWith = async (flag: string): Promise<string> => {
    const flags = one.flags.filter((it) => !it.startsWith('--docker-driver'));
    return one.host.must([WEFT, 'plan', ...flags, flag]);
  };
  assert.match(await planWith('--docker-driver=auto'), new RegExp(`ip link add vx-${BLUE} `));
  assert.equal(await planWith('--docker-driver=off'), NOTHING);
  assert.equal(await planWith('--docker-host=unix:///nowhere/docker.sock'), NOTHING);
  await one.startFlanneld();
});
