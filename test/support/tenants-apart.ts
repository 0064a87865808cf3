import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { until } from '#src/sys/until.ts';
import type { TenantHost, TestContainer } from './tenant-hosts.ts';

/** Whether one ping is answered. */
export const ping = ({ namespace }: TestContainer, to: string, ...options: string[]): boolean => {
  try {
    namespace.run(['ping', '-n', '-c1', '-W2', ...options, to].join(' '));
    return true;
  } catch {
    return false;
  }
};

/** The bridge forwards nothing before the device's carrier is there. */
export const reaches = (from: TestContainer, to: string, ...options: string[]): Promise<boolean> =>
  until(() => ping(from, to, ...options), { what: `answer of ${to} to ${from.name}` });

/** Containers a1 and a3 of one tenant, b1 and b2 of another with the same addresses; h2 has none of the first. */
export interface TwoTenants {
  readonly h2: TenantHost;
  readonly a1: TestContainer;
  readonly a3: TestContainer;
  readonly b1: TestContainer;
  readonly b2: TestContainer;
}

/** What holds for two tenants, whatever devices carry them. */
export async function testApart(t: TestContext, { h2, a1, a3, b1, b2 }: TwoTenants): Promise<void> {
  await t.test('each reaches its own, in both families, at the full size', async () => {
    await reaches(a1, a3.ip);
    await reaches(b1, b2.ip);
    await reaches(a1, a3.ip6);
    await reaches(b1, b2.ip6);
    await reaches(a1, a3.ip, '-M', 'do', '-s', '1422');
  });
  await t.test('and nothing of the other tenant', () => {
    assert.ok(!ping(a1, b2.ip));
    assert.ok(!ping(b1, a3.ip));
  });
  await t.test('the third host gets no frame', async () => {
    // b1 sends as well, and h2 gets that: the counter counts.
    const before = h2.vxlanPackets();
    for (const { namespace } of [a1, a3]) namespace.run('ip neigh flush dev eth0');
    await reaches(a1, a3.ip);
    ping(a1, '10.5.0.77');
    ping(a1, '10.5.0.255', '-b');
    ping(a1, 'ff02::1%eth0');
    assert.equal(h2.vxlanPackets(), before);
    await reaches(b1, b2.ip);
    assert.ok(h2.vxlanPackets() > before);
  });
  await t.test('a container can’t send as another', async () => {
    a1.namespace.run('ip link set eth0 address 02:42:0a:05:00:99');
    assert.ok(!ping(a1, a3.ip));
    a1.namespace.run(`ip link set eth0 address ${a1.mac}`);
    await reaches(a1, a3.ip);
  });
}
