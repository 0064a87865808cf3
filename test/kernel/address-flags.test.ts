import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { formatIp } from '#src/lib/ip.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * What a real kernel says of IPv6 addresses:
 *
 *     u0 2001:db8::1 … ─── u1 2001:db8::9     both in one namespace
 */
test('an address that is not to be used says why', { skip: cannotRun() }, async (t) => {
  const namespace = scratchNamespace(t);
  namespace.run('ip address add 2001:db8::9/128 dev u1 nodad');
  namespace.run('ip address add 2001:db8::1/64 dev u0 nodad');
  namespace.run('ip address add 2001:db8::2/64 dev u0 nodad valid_lft 1000 preferred_lft 0');
  namespace.run('ip address add 2001:db8::3/64 dev u0 nodad valid_lft 1000 preferred_lft 900');
  // Temporary addresses are made from such a one.
  namespace.run('sysctl -qw net.ipv6.conf.u0.use_tempaddr=2');
  namespace.run(
    'ip address add 2001:db8:0:4::4/64 dev u0 nodad mngtmpaddr valid_lft 90000 preferred_lft 80000',
  );
  namespace.run('ip address add 2001:db8::9/64 dev u0');

  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: namespace.path });
  t.after(() => kernel.close());
  const flagsOf = async (): Promise<Map<string, string>> => {
    const flags = new Map<string, string>();
    for (const object of await kernel.dump({ kinds: ['address'] })) {
      if (object.kind !== 'address' || object.device !== 'u0') continue;
      flags.set(formatIp(object.prefix.address), Object.keys(object.flags ?? {}).join());
    }
    return flags;
  };
  const settled = await until(
    async () => {
      const flags = await flagsOf();
      const isFound = (flags.get('2001:db8::9') ?? '').includes('duplicate');
      return isFound && temporaryIn(flags) !== undefined && flags;
    },
    { what: 'the duplicate to be found, and a temporary address' },
  );
  assert.equal(settled.get('192.0.2.1'), '');
  assert.equal(settled.get('2001:db8::1'), '');
  assert.equal(settled.get('2001:db8::2'), 'dynamic,deprecated');
  assert.equal(settled.get('2001:db8::3'), 'dynamic');
  assert.equal(settled.get('2001:db8:0:4::4'), 'dynamic');
  assert.equal(settled.get('2001:db8::9'), 'tentative,duplicate');
  assert.match(temporaryIn(settled) ?? '', /^dynamic,temporary/);
});

/** The flags of the address that the kernel made. */
const temporaryIn = (flags: ReadonlyMap<string, string>): string | undefined =>
  [...flags].find(([ip]) => ip.startsWith('2001:db8:0:4:') && !ip.endsWith('::4'))?.[1];
