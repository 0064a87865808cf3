import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { ContainerEnds } from '#src/driver/container-ends.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { parsePrefix } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { isNetworkNamespace } from '#src/sys/network-namespaces.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 *     tenants: p0000000100000 ─── eth0 :container        host: u0, u1 with the same numbers
 */
const skip = cannotRun();
const ID = '00000001'.padEnd(64, '0');
const PORT = 'p0000000100000';
const MAC = '02:42:0a:05:00:0b' as Mac;
const PREFIXES = ['10.5.0.11/24', 'fd05::b/64'].map((text) => parsePrefix(text) ?? assert.fail(text));

function setUp(t: TestContext) {
  const [tenants, container] = [scratchNamespace(t), scratchNamespace(t)];
  const ports = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: tenants.path });
  t.after(() => ports.close());
  const ends = new ContainerEnds({
    ports,
    open: (namespace) => new RtnetlinkKernel({ netlink: systemNetlink }, { namespace }),
    settings: (namespace) => new NamespaceFiles(namespace),
    isThere: isNetworkNamespace,
  });
  tenants.run(`ip link add ${PORT} type veth peer name w0 address ${MAC}`);
  const enter = (): void => {
    tenants.run(`ip link set w0 netns ${container.path.replace('/run/netns/', '')} name eth0`);
  };
  return { tenants, container, ends, enter, end: { id: ID, mac: MAC, sandbox: container.path } };
}

test('the device at the other end of a port has a name once it is in the container', { skip }, async (t) => {
  const { tenants, container, ends, enter, end } = setUp(t);
  assert.equal(await ends.nameOf(end), undefined);
  enter();
  assert.equal(await ends.nameOf(end), 'eth0');
  assert.equal(await ends.nameOf({ ...end, mac: '02:42:0a:05:00:0c' as Mac }), undefined);
  assert.equal(ends.isThere(container.path), true);
  assert.equal(ends.isThere('/run/netns/no-such'), false);
  assert.equal(ends.isThere('/etc/hostname'), false);
  tenants.run(`ip link del ${PORT}`);
  assert.equal(await ends.nameOf(end), undefined);
});

test('a bare device gets addresses, IPv6 although it was forbidden, and comes up', { skip }, async (t) => {
  const { container, ends, enter } = setUp(t);
  container.run('sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1');
  enter();
  assert.equal(await ends.mend(container.path, 'eth0', PREFIXES), true);
  const [{ flags, addr_info: addresses } = {}] = container.json('ip address show dev eth0');
  assert.ok((flags as string[]).includes('UP'));
  const found = (addresses as { scope: string; local: string; prefixlen: number }[])
    .filter(({ scope }) => scope === 'global')
    .map(({ local, prefixlen }) => `${local}/${prefixlen}`);
  assert.deepEqual(found, ['10.5.0.11/24', 'fd05::b/64']);
  assert.equal(await ends.mend(container.path, 'eth0', PREFIXES), false);
});

test('a device that is up or has addresses is the container’s own', { skip }, async (t) => {
  const { container, ends, enter } = setUp(t);
  assert.equal(await ends.mend(container.path, 'eth0', PREFIXES), false, 'there is none');
  enter();
  container.run('ip address add 192.0.2.50/32 dev eth0');
  assert.equal(await ends.mend(container.path, 'eth0', PREFIXES), false);
  container.run('ip address flush dev eth0');
  container.run('ip link set eth0 up');
  assert.equal(await ends.mend(container.path, 'eth0', PREFIXES), false);
});

test('a namespace that is gone is an error', { skip }, async (t) => {
  const { ends } = setUp(t);
  await assert.rejects(ends.mend('/run/netns/no-such', 'eth0', PREFIXES), { code: 'netns' });
});
