import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parseMac } from '#src/lib/mac.ts';
import { formatObject, type KernelObject, type Link } from '#src/state/object.ts';
import { until } from '#src/sys/until.ts';
import { Drift, firstOf } from '../support/drift.ts';
import { type DualNetwork, dualNetwork } from '../support/dual-network.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * What others do to the IPv6 part of a host's network, under IPv6 traffic of 200 packets a second from c on h1 to c on h2; each
 * time it must come back as it was:
 *
 *     h1 .191 fd77::1 flanneld ── docker0 ── c          c ── docker0 ── flanneld .192 fd77::2 h2
 *      └ the kernel's own messages change flannel-v6.1, and show when it is right again
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const DEVICE = 'flannel-v6.1';
const CONFIG =
  '{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":{"Type":"vxlan"}}';

let made: DualNetwork | undefined;
wholeFile(skip, async (owner) => {
  made = await dualNetwork(owner, { config: CONFIG });
});
const network = (): DualNetwork => made ?? assert.fail('there is no network');

/** The kernel gives each device with IPv6 a link-local address and its routes, and learns neighbours. */
const isMade = (object: KernelObject): boolean =>
  !/\bf[ef][08]0::|33:33:/.test(formatObject(object)) && (object.kind !== 'neighbour' || object.permanent);

const device = new Drift(() => network().one.host, DEVICE, isMade);
after(() => device.close());

const drift = (fault: string, act: (state: readonly KernelObject[]) => Promise<void>): Promise<void> =>
  device.measure(fault, act, (all) => duringTraffic(network().one.container, network().two.address6, all));

for (const kind of ['route', 'neighbour', 'fdb', 'address'] as const) {
  test(`IPv6: a deleted ${kind} is put back`, { skip }, () =>
    drift(`IPv6 ${kind} deleted`, (state) => device.apply({ verb: 'remove', object: firstOf(state, kind) })),
  );
}

const LINK_CHANGES: readonly (readonly [string, Partial<Link>])[] = [
  ['link down', { up: false }],
  ['MAC changed', { mac: parseMac('02:00:00:0b:ad:06') ?? assert.fail() }],
  ['MTU changed', { mtu: 1300 }],
];
for (const [what, change] of LINK_CHANGES) {
  test(`IPv6: ${what}: the device is as before`, { skip }, () =>
    drift(`IPv6 ${what}`, () =>
      device.apply({ verb: 'set', object: { kind: 'link', name: DEVICE, ...change } }),
    ),
  );
}

test('IPv6: a deleted device is made again, with all that was on it', { skip }, () =>
  drift('IPv6 device deleted', () =>
    device.apply({ verb: 'remove', object: { kind: 'link', name: DEVICE } }),
  ),
);

for (const path of ['net.ipv6.conf.all.forwarding', 'net.ipv6.conf.flannel-v6/1.accept_ra']) {
  test(`IPv6: ${path} is set back`, { skip }, async () => {
    const { host } = network().one;
    const read = async () => (await host.must(['sysctl', '-n', path])).trim();
    const wanted = await read();
    await host.must(['sysctl', '-qw', `${path}=${wanted === '1' ? 0 : 1}`]);
    // The kernel reports forwarding at once, and accept_ra not at all: that is looked at each ten seconds.
    await until(async () => (await read()) === wanted, { what: `the repair of ${path}`, timeoutMs: 30_000 });
  });
}
