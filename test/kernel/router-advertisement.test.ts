import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { formatIp, formatPrefix } from '#src/lib/ip.ts';
import { advertisedRoutes } from '#src/node/underlay/advertised-routes.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { readHostFacts } from '#src/node/underlay/host-facts.ts';
import { formatAddresses } from '#src/node/underlay/underlay.ts';
import { readUnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import type { KernelObject } from '#src/state/object.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { openPacketSocket } from '#src/sys/packet-socket.ts';
import { until } from '#src/sys/until.ts';
import { ROUTER, routerAdvertisement } from '../support/router-advertisement.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';
import { NO_FLAGS } from '../support/underlay-words.ts';

/*
 * A host that has its IPv6 address and its default route from a router, as most of them:
 *
 *     u0 (SLAAC, accept_ra=1) ─── u1 ◀── router advertisements of fe80::1 for 2001:db8::/64
 */
const skip = cannotRun();

async function advertisedHost(t: TestContext) {
  const namespace = scratchNamespace(t);
  // The other end of the cable is in the same namespace, and is no host.
  namespace.run('sysctl -qw net.ipv6.conf.u1.disable_ipv6=1');
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const files = new NamespaceFiles(namespace.path);
  const router = await openPacketSocket({ namespace: namespace.path, device: 'u1' });
  t.after(() => router.close());
  const defaultRoute = async (): Promise<string | undefined> => {
    for (const object of await kernel.dump({ kinds: ['route'] })) {
      if (object.kind === 'route' && formatPrefix(object.destination) === '::/0' && object.via !== undefined)
        return `${formatIp(object.via)} ${object.device}`;
    }
    return undefined;
  };
  const hasAddress = async (): Promise<boolean> =>
    (await kernel.dump({ kinds: ['address'] })).some(
      (object) => object.kind === 'address' && formatPrefix(object.prefix).startsWith('2001:db8::'),
    );
  // The first ones may come before the device listens.
  await until(
    async () => {
      router.send(routerAdvertisement('2001:db8::'));
      return (await defaultRoute()) !== undefined && hasAddress();
    },
    { what: 'default route and address' },
  );
  const set = async (path: string, value: string): Promise<void> => {
    const object: KernelObject = { kind: 'sysctl', path, value };
    const [result] = await new SysctlActuator({ files }).apply([{ verb: 'replace', object }]);
    assert.equal(result?.done, true);
  };
  return { kernel, files, defaultRoute, set };
}

const FORWARDING = 'net/ipv6/conf/all/forwarding';

test('forwarding takes the default route away, and accept_ra=2 before it keeps the route', {
  skip,
}, async (t) => {
  for (const keeps of [false, true]) {
    const { kernel, files, defaultRoute, set } = await advertisedHost(t);
    const facts = await readHostFacts(kernel);
    assert.deepEqual(await advertisedRoutes(facts, files), ['u0']);
    if (keeps) await set('net/ipv6/conf/u0/accept_ra', '2');
    await set(FORWARDING, '1');
    assert.equal(await defaultRoute(), keeps ? `${ROUTER} u0` : undefined);
    assert.deepEqual(await advertisedRoutes(await readHostFacts(kernel), files), []);
  }
});

test('the address that the router gave is the underlay', { skip }, async (t) => {
  const { kernel } = await advertisedHost(t);
  const underlay = chooseUnderlay(await readUnderlayFlags(NO_FLAGS), await readHostFacts(kernel), ['v6']);
  assert.equal(underlay.name, 'u0');
  assert.match(formatAddresses(underlay.address), /^2001:db8::[0-9a-f:]+$/);
  assert.deepEqual(underlay.gateways.map(formatIp), [ROUTER]);
});
