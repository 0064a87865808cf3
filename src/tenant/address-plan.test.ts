import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatIp, type Ip, type Prefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { type AddressFacts, planAddress } from '#src/tenant/address-plan.ts';
import { AddressPool } from '#src/tenant/address-pool.ts';
import type { AddressRecord, AddressState, TenantSubnet } from '#src/tenant/tenant.ts';
import { parseTenant } from '#src/tenant/tenant-codec.ts';

const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
const prefix = (text: string): Prefix => parsePrefix(text) ?? assert.fail(text);

function subnetOf(family: 'v4' | 'v6', fields: object): TenantSubnet {
  const tenant = parseTenant('blue', JSON.stringify({ vni: 7, subnets: { [family]: fields } }));
  assert.ok(tenant.ok, tenant.ok ? '' : tenant.reason);
  return tenant.value.subnets[family] ?? assert.fail();
}

/** 10.5.0.1 to 10.5.0.6, of which two are reserved. */
const SMALL = subnetOf('v4', {
  prefix: '10.5.0.0/29',
  gateway: '10.5.0.1',
  auxiliary: { router: '10.5.0.2' },
});
const V6 = subnetOf('v6', { prefix: 'fd00:5::/64', gateway: 'fd00:5::1' });

function record(text: string, state: AddressState, fields: Partial<AddressRecord> = {}): AddressRecord {
  return {
    ip: ip(text),
    state,
    host: 'there',
    vtep: ip('192.168.0.2'),
    names: ['web'],
    keep: state === 'kept',
    since: 100,
    ...fields,
  };
}

type Facts = Partial<AddressFacts> & {
  readonly records?: readonly AddressRecord[];
  readonly unreadable?: string;
};

/** The plan in one line. */
function plan({ records = [], unreadable, ...facts }: Facts = {}): string {
  const subnet = facts.subnet ?? SMALL;
  const pool = new AddressPool(subnet);
  for (const each of records) pool.set(each);
  if (unreadable !== undefined) pool.setUnreadable(ip(unreadable), 'its value is not JSON');
  const made = planAddress({
    subnet,
    pool,
    host: 'here',
    inDoubt: new Set(),
    hostName: (host) => (host === 'there' ? 'node-2' : undefined),
    ...facts,
  });
  if (made.kind === 'refuse') {
    assert.ok(made.reason.length > 10 && made.remedy.length > 10);
    assert.doesNotMatch(made.reason + made.remedy, /\n/);
    return made.reason;
  }
  const verb = made.kind === 'take-over' ? 'take over ' : '';
  return `${verb}${formatIp(made.ip)}${made.previous === undefined ? '' : `, ${made.previous.state} at ${made.previous.since}`}`;
}

/** Each address that a host gets, one after the other, until it is refused. */
function takeAll(facts: Facts): string[] {
  const taken: AddressRecord[] = [...(facts.records ?? [])];
  const lines: string[] = [];
  for (;;) {
    const line = plan({ ...facts, records: taken });
    lines.push(line);
    const [text = ''] = line.split(',');
    if (parseIp(text) === undefined) return lines;
    const at = taken.findIndex((each) => formatIp(each.ip) === text);
    if (at >= 0) taken.splice(at, 1);
    taken.push(record(text, 'published'));
  }
}

const FULL = 'all addresses of 10.5.0.0/29 are in use or kept';

test('addresses are handed out from a place of the host’s own, and round to it again', () => {
  const ofHost = (host: string) => takeAll({ host });
  assert.deepEqual(ofHost('here').toSorted(), ['10.5.0.3', '10.5.0.4', '10.5.0.5', '10.5.0.6', FULL]);
  const firsts = new Set(Array.from({ length: 50 }, (_, n) => ofHost(`host-${n}`)[0]));
  assert.ok(firsts.size > 1, 'all hosts begin at the same place');
  assert.deepEqual(ofHost('here'), ofHost('here'));
});

test('network, broadcast, gateway and auxiliary addresses are refused to those who ask for them', () => {
  const ask = (text: string) => plan({ wanted: ip(text) });
  assert.equal(ask('10.5.0.0'), '10.5.0.0 is the network address of 10.5.0.0/29');
  assert.equal(ask('10.5.0.7'), '10.5.0.7 is the broadcast address of 10.5.0.0/29');
  assert.equal(ask('10.5.0.1'), '10.5.0.1 is the gateway of 10.5.0.0/29');
  assert.equal(ask('10.5.0.2'), '10.5.0.2 is reserved in 10.5.0.0/29 as the auxiliary address router');
  assert.equal(ask('10.5.0.8'), '10.5.0.8 is not in the subnet 10.5.0.0/29');
  assert.equal(ask('fd00::5'), 'fd00::5 is not in the subnet 10.5.0.0/29');
  assert.equal(ask('10.5.0.5'), '10.5.0.5');
});

test('an address that is held is refused with host and container', () => {
  const ask = (fields: Partial<AddressRecord>, state: AddressState = 'published') =>
    plan({ wanted: ip('10.5.0.5'), records: [record('10.5.0.5', state, fields)] });
  assert.equal(ask({}), '10.5.0.5 is held on host node-2 by container web');
  assert.equal(ask({ host: 'here' }, 'reserved'), '10.5.0.5 is held on this host by container web');
  assert.equal(
    ask({ names: [], container: 'ab'.repeat(32) }),
    '10.5.0.5 is held on host node-2 by container abababababab',
  );
  assert.equal(ask({ names: [], host: 'f00' }), '10.5.0.5 is held on host f00');
});

test('an explicit address may be outside the range, released anywhere, or kept', () => {
  const range = prefix('10.5.0.4/31');
  const ask = (records: readonly AddressRecord[]) => plan({ range, wanted: ip('10.5.0.3'), records });
  assert.equal(ask([]), '10.5.0.3');
  assert.equal(ask([record('10.5.0.3', 'released')]), '10.5.0.3, released at 100');
  assert.equal(ask([record('10.5.0.3', 'kept')]), '10.5.0.3, kept at 100');
});

test('an address that is handed over is taken over by that host, when it asks for it', () => {
  const records = [record('10.5.0.3', 'published', { to: 'here' })];
  const wanted = ip('10.5.0.3');
  assert.equal(plan({ wanted, records }), 'take over 10.5.0.3, published at 100');
  assert.equal(
    plan({ wanted, records, host: 'elsewhere' }),
    '10.5.0.3 is held on host node-2 by container web',
  );
  assert.equal(plan({ wanted, records, host: 'there' }), '10.5.0.3 is held on this host by container web');
  const reserved = [record('10.5.0.3', 'reserved', { to: 'here' })];
  assert.match(plan({ wanted, records: reserved }), /is held/);
  assert.ok(!takeAll({ records }).includes('10.5.0.3'), 'nobody gets it unasked');
});

test('without a wish an address of the range is chosen: of the host’s network, or of the tenant’s', () => {
  const subnet = { ...SMALL, range: prefix('10.5.0.4/31') } as TenantSubnet;
  const ofRange = ['10.5.0.4', '10.5.0.5'];
  assert.deepEqual(takeAll({ subnet }).slice(0, 2).toSorted(), ofRange);
  assert.deepEqual(
    takeAll({ range: prefix('10.5.0.4/31') })
      .slice(0, 2)
      .toSorted(),
    ofRange,
  );
  assert.equal(takeAll({ subnet }).at(-1), 'all addresses of 10.5.0.4/31 are in use or kept');
});

test('released addresses come last, the longest released first; kept ones never', () => {
  const records = [
    record('10.5.0.3', 'released', { since: 30 }),
    record('10.5.0.4', 'released', { since: 20 }),
    record('10.5.0.5', 'kept', { since: 10 }),
  ];
  assert.deepEqual(takeAll({ records }), [
    '10.5.0.6',
    '10.5.0.4, released at 20',
    '10.5.0.3, released at 30',
    FULL,
  ]);
});

test('addresses in doubt are passed over, and are named when nothing else is left', () => {
  const inDoubt = new Set(['10.5.0.3', '10.5.0.4', '10.5.0.6'].map(ip));
  assert.equal(plan({ inDoubt }), '10.5.0.5');
  const records = [record('10.5.0.5', 'published'), record('10.5.0.6', 'released')];
  assert.equal(plan({ inDoubt, records }), `${FULL}, or are being taken (3)`);
  assert.equal(plan({ inDoubt, wanted: ip('10.5.0.3') }), '10.5.0.3');
});

test('a container gets the address back that it had last on this host, kept ones included', () => {
  const mine = { host: 'here', names: ['db', 'alias'] };
  const records = [
    record('10.5.0.3', 'released', { ...mine, since: 10 }),
    record('10.5.0.4', 'released', { ...mine, since: 20 }),
    record('10.5.0.5', 'released', { names: ['db'], since: 5 }),
  ];
  assert.equal(plan({ container: 'db', records }), '10.5.0.4, released at 20');
  assert.equal(plan({ container: 'alias', records }), '10.5.0.6');
  assert.equal(plan({ records }), '10.5.0.6');
  assert.equal(
    plan({ container: 'db', records, inDoubt: new Set([ip('10.5.0.4')]) }),
    '10.5.0.3, released at 10',
  );
  const kept = record('10.5.0.5', 'kept', { ...mine, since: 30 });
  assert.equal(plan({ container: 'db', records: [...records.slice(0, 2), kept] }), '10.5.0.5, kept at 30');
  const held = record('10.5.0.4', 'published', mine);
  assert.equal(
    plan({ container: 'db', records: [held, ...records.slice(2)], range: prefix('10.5.0.6/32') }),
    '10.5.0.6',
  );
});

test('a record that nobody can read holds its address', () => {
  assert.ok(!takeAll({ unreadable: '10.5.0.3' }).includes('10.5.0.3'));
  assert.equal(
    plan({ unreadable: '10.5.0.3', wanted: ip('10.5.0.3') }),
    `the record of 10.5.0.3 in the registry can't be read: its value is not JSON`,
  );
});

test('IPv6: the host bits of the IPv4 address, else a short address from the host’s own place', () => {
  const ask = (facts: Facts) => plan({ subnet: V6, ...facts });
  assert.equal(ask({ hostNumber: 77 }), 'fd00:5::4d');
  assert.match(ask({}), /^fd00:5::[0-9a-f]{1,4}:[0-9a-f]{1,4}$/);
  assert.equal(
    ask({ hostNumber: 77, records: [record('fd00:5::4d', 'released')] }),
    'fd00:5::4d, released at 100',
  );
  const kept = record('fd00:5::4d', 'kept');
  assert.equal(ask({ hostNumber: 77, records: [kept], container: 'web' }), 'fd00:5::4d, kept at 100');
  for (const records of [[kept], [record('fd00:5::4d', 'published')]])
    assert.match(ask({ hostNumber: 77, records }), /^fd00:5::[0-9a-f]{1,4}:[0-9a-f]{1,4}$/);
  assert.notEqual(ask({ hostNumber: 1 }), 'fd00:5::1');
  assert.equal(ask({ wanted: ip('fd00:5::') }), 'fd00:5:: is the network address of fd00:5::/64');
  assert.equal(ask({ wanted: ip('fd00:5::ffff:ffff:ffff:ffff') }), 'fd00:5::ffff:ffff:ffff:ffff');
});

test('a /16 with 60,000 in use still has its 5,533 others, each once', () => {
  const subnet = subnetOf('v4', { prefix: '10.5.0.0/16', gateway: '10.5.0.1' });
  const pool = new AddressPool(subnet);
  const inUse = Array.from({ length: 60_000 }, (_, n) => `10.5.${(n + 2) >> 8}.${(n + 2) & 255}`);
  for (const text of inUse) pool.set(record(text, 'published'));
  const seen = new Set<Ip>();
  for (;;) {
    const made = planAddress({ subnet, pool, host: 'here', inDoubt: new Set(), hostName: () => undefined });
    if (made.kind === 'refuse') break;
    assert.equal(pool.get(made.ip), undefined);
    seen.add(made.ip);
    pool.set(record(formatIp(made.ip), 'published'));
  }
  assert.equal(seen.size, 65_536 - 60_000 - 3);
});
