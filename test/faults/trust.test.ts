import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelState } from '#src/lab/faults.ts';
import { Traffic } from '#src/lab/traffic.ts';
import { encodeAttributes } from '#src/network/lease-codec.ts';
import { until } from '#src/sys/until.ts';
import { attackersHost, attributesIn, countIn, forged, keyOf, newKey } from '../support/attacker.ts';
import { reportFault } from '../support/fault-report.ts';
import { daemonLog, FLANNELD, PREFIX, readLease, startFlanneld, WEFT } from '../support/flanneld.ts';
import { type Network, type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun } from '../support/test-lab.ts';
import { assertFollowed, flanneldOn, freeSubnets, putAll } from './suite.ts';

/*
 * Somebody who can write everything in etcd, and hosts that go by signatures (--trust). Packets of a subnet go to the host
 * that held it, whatever is written over its lease or beside it, and each record is named with the reason.
 *
 *     store .190 etcd ◀── etcdctl put PREFIX/subnets/… (the attacker)
 *     h1 .191 flanneld ── docker0 ── c ──── traffic ────▶ c ── docker0 ── flanneld .192 h2 (the victim)
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping', 'iptables');

interface Hostile {
  readonly what: string;
  readonly key: string;
  readonly value: string;
  readonly reason: RegExp;
}

interface Prey {
  readonly victim: Node;
  readonly name: string;
  /** The victim's lease as it is. */
  readonly value: string;
}

const ATTACKER = newKey();
const nameOf = ({ subnet }: Pick<Node, 'subnet'>): string => `${subnet}.0-24`;

async function preyOf({ etcd }: Network, victim: Node, api: 2 | 3): Promise<Prey> {
  return { victim, name: nameOf(victim), value: await readLease(etcd, api, victim.subnet) };
}

/** What may be written over the lease of a host whose key the attacker does not have; its old leases he has seen. */
async function overTheLease({ victim, name, value }: Prey): Promise<Hostile[]> {
  const [key, attributes, count] = [await keyOf(victim.host), attributesIn(value), countIn(value)];
  const evil = attackersHost(9);
  const moved = { ...attributes, publicIp: evil.publicIp };
  const changed = (from: string | RegExp, to: string): string => {
    const text = value.replace(from, to);
    assert.notEqual(text, value);
    return text;
  };
  const all: readonly (readonly [string, string, RegExp])[] = [
    ['an unsigned lease', encodeAttributes(evil), /signature is missing.*held by the key/],
    [
      'a lease with another key',
      forged(ATTACKER, { name, attributes: evil, count: count + 1 }),
      /held by the key/,
    ],
    [
      'an old lease: another address',
      forged(key, { name, attributes: moved, count: count - 1 }),
      /signature is old/,
    ],
    [
      'a lease of another network',
      forged(key, { name, attributes: moved, count: count + 1, network: '/another/network' }),
      /not that of its key/,
    ],
    [
      'a lease of another subnet',
      forged(key, { name: '10.0.251.0-24', attributes: moved, count: count + 1 }),
      /not that of its key/,
    ],
    ['a changed address', changed(/"PublicIP":"[^"]*"/, '"PublicIP":"172.16.71.9"'), /not that of its key/],
    [
      'a changed VTEP MAC',
      changed(/"VtepMAC":"[^"]*"/, '"VtepMAC":"02:00:00:00:09:09"'),
      /not that of its key/,
    ],
    ['a changed owner', changed(/"Node":"[^"]*"/, '"Node":"attacker"'), /not that of its key/],
    ['a second spelling of a name', changed(/\}$/, ',"publicip":"172.16.71.9"}'), /not that of its key/],
    ['a raised count', changed(/"Count":\d+/, `"Count":${count + 1}`), /not that of its key/],
    ['a count beyond all numbers', changed(/"Count":\d+/, '"Count":1e308'), /can not be read/],
    ['a key without a signature', changed(/,"Signed":\{[^}]*\}/, ''), /can not be read/],
    [
      "the attacker's key beside the signature",
      changed(key.publicKey, ATTACKER.publicKey),
      /held by the key/,
    ],
    [
      'a signature of 4,000 characters',
      changed(/"Signature":"/, `"Signature":"${'A'.repeat(3_300)}`),
      /can not be read/,
    ],
    ['what is no lease', 'junk', /not JSON/],
  ];
  return all.map(([what, value, reason]) => ({ what, key: name, value, reason }));
}

/** What may be written beside it; `free` are subnets that nobody holds, 10.0.N.0/24. */
async function besideTheLease({ victim, name, value }: Prey, free: readonly number[]): Promise<Hostile[]> {
  const [key, attributes, count] = [await keyOf(victim.host), attributesIn(value), countIn(value)];
  const { subnet } = victim;
  const numbers = free.values();
  const next = (): string => `10.0.${numbers.next().value ?? assert.fail('no free subnet')}.0-24`;
  const [replayed, doubled, copied, broken, unreadable] = [next(), next(), next(), next(), next()];
  const evil = attackersHost(10);
  const macs = attributes.backendData === undefined ? {} : { backendData: attributes.backendData };
  return [
    {
      what: 'an old lease of another subnet',
      key: replayed,
      value: forged(key, { name: replayed, attributes: attackersHost(11), count: count - 1 }),
      reason: /signature is old/,
    },
    {
      what: 'its lease under another subnet',
      key: copied,
      value,
      reason: /signature is old/,
    },
    {
      what: "another's VTEP MAC",
      key: doubled,
      value: forged(ATTACKER, { name: doubled, attributes: { ...evil, ...macs }, count: 1 }),
      reason: /held by the key/,
    },
    {
      what: 'a signature of nothing',
      key: broken,
      value: forged(newKey(), { name, attributes: evil, count: 1 }),
      reason: /not that of its key/,
    },
    {
      what: 'a signature that is none',
      key: unreadable,
      value: JSON.stringify({ ...JSON.parse(encodeAttributes(evil)), Weft: { Signed: {} } }),
      reason: /can not be read/,
    },
    ...[`${subnet}.0-25`, `${subnet}.128-25`].map((part) => ({
      what: `a part of its subnet, ${part}`,
      key: part,
      value: forged(newKey(), { name: part, attributes: evil, count: 1 }),
      reason: /held by the key/,
    })),
  ];
}

const named = async ({ host }: Node, { key, reason }: Hostile, from: number): Promise<string[]> =>
  (await daemonLog(host))
    .slice(from)
    .split('\n')
    .filter((line) => line.includes(`Ignoring the lease ${key}: `) && reason.test(line));

for (const api of [2, 3] as const) {
  test(`a writer of etcd can not take a signed subnet (etcd v${api})`, { skip }, async (t) => {
    const network = await testNetwork(t, { api, flags: ['--trust=first-use'] });
    const { etcd } = network;
    const [one, two] = pairOf(network);
    const prey = await preyOf(network, two, api);
    const put = (all: readonly Hostile[]) =>
      putAll(
        etcd,
        api,
        all.map(({ key, value }) => [`${PREFIX}/subnets/${key}`, value]),
      );
    const before = await kernelState(one.host);
    const [hijacks, others] = [
      await overTheLease(prey),
      await besideTheLease(prey, freeSubnets(network, 250).slice(50)),
    ];
    const from = (await daemonLog(one.host)).length;
    const traffic = await Traffic.start(one.container, two.container.address);

    // The victim's flanneld does not run: nobody takes its lease back.
    await (await flanneldOn(two.host)).stop();
    await put(others);
    for (const hostile of hijacks) {
      await put([hostile]);
      await until(async () => (await named(one, hostile, from)).length > 0, { what: hostile.what });
      assert.equal(await kernelState(one.host), before, hostile.what);
    }
    for (const hostile of others) {
      await until(async () => (await named(one, hostile, from)).length > 0, { what: hostile.what });
      assert.equal((await named(one, hostile, from)).length, 1, hostile.what);
    }
    await assertFollowed(network, api);
    assert.equal(await kernelState(one.host), before);

    // A start finds a hijacked lease, and all the rest.
    await (await flanneldOn(one.host)).stop();
    const hijack = hijacks[1] ?? assert.fail();
    await put([hijack]);
    const started = (await daemonLog(one.host)).length;
    await startFlanneld(one.host, one.flags);
    assert.equal(await kernelState(one.host), before, 'after a start');
    for (const hostile of [hijack, ...others])
      assert.equal((await named(one, hostile, started)).length, 1, hostile.what);
    const weft = (...words: string[]) => one.host.must([WEFT, ...words, ...one.flags]);
    assert.match(await weft('status'), /trust +first-use, own key .*a lease was written over/);
    const leases = JSON.parse(await weft('leases', '--json')).leases as Record<string, string>[];
    assert.match(leases.find(({ lease }) => lease === prey.name)?.quarantined ?? '', hijack.reason);
    const doctor = await one.host.run([WEFT, 'doctor', ...one.flags]);
    assert.match(doctor.stdout, /lease-disputed/, `${doctor.code}: ${doctor.stderr}`);

    // The victim takes its own subnet again, though another's name is on it.
    const { subnetEnv } = await startFlanneld(two.host, two.flags);
    assert.match(subnetEnv, new RegExp(`FLANNEL_SUBNET=${two.subnet.replaceAll('.', '\\.')}\\.1/24`));
    await until(
      async () => (await readLease(etcd, api, two.subnet)).includes((await keyOf(two.host)).publicKey),
      {
        what: "the victim's lease",
      },
    );
    // As long as it is not ready, the command fails.
    const status = [WEFT, 'status', ...one.flags];
    await until(
      async () => {
        const { code, stdout } = await one.host.run(status);
        return code === 0 && !stdout.includes('lease was written over');
      },
      { what: 'the end of the dispute' },
    );
    assert.equal(await kernelState(one.host), before);

    // While it runs it takes it back at once, and names who wrote.
    const theirs = (await daemonLog(two.host)).length;
    await put([hijack]);
    await until(
      async () =>
        (await daemonLog(two.host)).slice(theirs).includes(`signed with the key ${ATTACKER.publicKey}`),
      { what: 'the name of the writer' },
    );
    await until(
      async () => (await readLease(etcd, api, two.subnet)).includes((await keyOf(two.host)).publicKey),
      {
        what: 'its lease again',
      },
    );
    await until(async () => (await traffic.received()) > 100, { what: 'traffic' });
    const { lost } = await traffic.stop();
    reportFault({
      fault: `${hijacks.length + others.length} leases with bad signatures, over a lease and beside it (etcd v${api})`,
      repairedMs: [],
      lost,
      note: 'ok, each named',
    });
    assert.equal(lost, 0);
    assert.ok(hijacks.length + others.length >= 20);
  });
}

test('weft trust: keys are shown, forgotten and allowed', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, flags: ['--trust=first-use'] });
  const [one, two] = pairOf(network);
  const weft = (...words: string[]) => one.host.must([WEFT, 'trust', ...words, ...one.flags]);
  const [own, theirs] = [await keyOf(one.host), await keyOf(two.host)];
  const known = (): Promise<string> => weft('show');
  await until(async () => (await known()).includes(theirs.publicKey), { what: "the peer's key" });
  assert.match(await known(), new RegExp(`^own key +${own.publicKey}`));
  assert.equal((await weft('key')).trim(), own.publicKey);
  assert.match(await known(), new RegExp(`${two.subnet}\\.0/24 +${theirs.publicKey} +there`));

  // A host that is installed again has another key: until its old one is forgotten its lease is not used.
  await (await flanneldOn(two.host)).stop();
  await two.host.must(['rm', '/var/lib/weft/node-key']);
  await startFlanneld(two.host, two.flags);
  const renewed = await keyOf(two.host);
  await until(async () => (await daemonLog(one.host)).includes('is held by the key'), {
    what: 'the other key',
  });
  assert.match(await weft('forget', `${two.subnet}.0/24`), new RegExp(`forgot the key ${theirs.publicKey}`));
  await until(async () => (await known()).includes(renewed.publicKey), { what: 'the new key' });

  // The list of an operator, read again when it changes.
  const file = ['--trust-file=/run/weft-trusted'];
  await weft('allow', renewed.publicKey, `${two.subnet}.0/24`, ...file);
  await (await flanneldOn(one.host)).stop();
  const strict = [...one.flags.filter((flag) => !flag.startsWith('--trust')), '--trust=allow-list', ...file];
  await startFlanneld(one.host, strict);
  const route = () => one.host.must(['ip', 'route', 'show', `${two.subnet}.0/24`]);
  assert.notEqual(await route(), '');
  await one.host.must([
    'sh',
    '-c',
    `sed -i 's/^${renewed.publicKey} .*/${newKey().publicKey} any/' /run/weft-trusted`,
  ]);
  await until(async () => (await route()) === '', { what: 'the end of the route' });
  await weft('allow', renewed.publicKey, 'any', ...file);
  await until(async () => (await route()) !== '', { what: 'the route again' });
  const bad = await one.host.run([WEFT, 'trust', 'allow', 'no-key', 'any', ...file]);
  assert.match(bad.stderr, /"no-key" is not a key/);
});

test('what can not be read is one line, and nobody is trusted for it', { skip }, async (t) => {
  const network = await testNetwork(t, { api: 3, flags: ['--trust=first-use'] });
  const [one] = pairOf(network);
  const find = async (): Promise<string> =>
    (await one.host.run(['sh', '-c', 'ls /var/lib/weft/network-*.keys'])).stdout.trim();
  const files = await until(async () => (await find()) || undefined, { what: 'the known keys on disk' });
  await (await flanneldOn(one.host)).stop();
  const refused = async (expected: RegExp): Promise<void> => {
    const daemon = await one.host.start('flanneld-refused', [FLANNELD, ...one.flags]);
    assert.equal(await daemon.exited(), 1);
    assert.match(await daemon.log(), expected);
  };
  await one.host.must(['sh', '-c', `cp ${files} /run/keys; echo broken > ${files}`]);
  await refused(/could not read the known keys/);
  await one.host.must(['sh', '-c', `cp /run/keys ${files}; echo broken > /var/lib/weft/node-key`]);
  await refused(/could not read this node's key/);
});
