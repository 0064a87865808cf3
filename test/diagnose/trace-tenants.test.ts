import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { type TestContext, test } from 'node:test';
import { openEye } from '#src/diagnose/trace/eye.ts';
import type { LocalHost } from '#src/diagnose/trace/local-host.ts';
import { localSite } from '#src/diagnose/trace/site.ts';
import { type Trace, traceWay } from '#src/diagnose/trace/trace-way.ts';
import { makeTable } from '#src/firewall/own-table.ts';
import { tunnelElements, tunnelTable } from '#src/firewall/tenant-tunnels.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { scratchNamespace } from '../support/scratch-namespace.ts';
import {
  entriesOf,
  ip,
  mac,
  moveIn,
  networkOf,
  PORT,
  portOf,
  type TenantHost,
  type TestContainer,
  tenantHosts,
} from '../support/tenant-hosts.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * A Docker network of weft on two hosts, as its driver left it: nothing runs that would mend it.
 *
 *     h1 172.31.0.1                        h2 172.31.0.2
 *      └ weft                               └ weft
 *         br-70001 ─ vx-70001                  br-70001 ─ vx-70001
 *          ├ pa ── a 10.5.0.11                  └ pc ── c 10.5.0.13
 *          └ pb ── b 10.5.0.12
 */
const skip = cannotRun('ping', 'nft');
const VNI = 70_001;

type Name = 'a' | 'b' | 'c';

interface Tenant {
  readonly h1: TenantHost;
  readonly h2: TenantHost;
  readonly containers: Readonly<Record<Name, TestContainer>>;
  trace(from: Name, to: Name): Promise<Trace>;
}

async function tenant(t: TestContext): Promise<Tenant> {
  const [h1, h2] = (await tenantHosts(t, 2)) as [TenantHost, TenantHost];
  const container = (name: Name, host: TenantHost, last: number): TestContainer => ({
    ...{ name, vni: VNI, host, namespace: scratchNamespace(t) },
    ...{ ip: `10.5.0.${last}`, ip6: `fd05::${last}`, mac: mac(`02:42:0a:05:00:${last}`) },
  });
  const [a, b, c] = [container('a', h1, 11), container('b', h1, 12), container('c', h2, 13)];
  await h1.want([...networkOf(VNI, h1), ...portOf(a), ...portOf(b), ...entriesOf(c)]);
  await h2.want([...networkOf(VNI, h2), ...portOf(c), ...entriesOf(a), ...entriesOf(b)]);
  for (const each of [a, b, c]) moveIn(each);
  for (const { owner } of [h1, h2]) await owner.release();
  const containers = { a, b, c };
  return {
    ...{ h1, h2, containers },
    async trace(from, to) {
      const [first, last] = [containers[from], containers[to]];
      const hosts = [h1, h2].map((host, n) => lookAt(`h${n + 1}`, host, Object.values(containers)));
      const siteOf = ({ host }: TestContainer) => localSite(hosts[host === h1 ? 0 : 1] ?? assert.fail());
      try {
        return await traceWay({
          from: { address: first.ip, site: siteOf(first) },
          to: { address: last.ip, site: siteOf(last) },
          tenant: VNI,
        });
      } finally {
        for (const { eye } of hosts) eye.close();
      }
    },
  };
}

function lookAt(name: string, host: TenantHost, containers: readonly TestContainer[]): LocalHost {
  const eye = openEye({ netlink: systemNetlink }, { namespace: host.namespace.path });
  const namespaces = async () => containers.map(({ namespace }) => namespace.path);
  return { name, eye, known: undefined, tenants: eye.at(host.weftPath), namespaces };
}

/** The table that lets packets of the tunnels in, with the other hosts that it knows. */
const tunnels = ({ namespace }: TenantHost, vteps: readonly string[]): void => {
  const elements = tunnelElements({ vteps: vteps.map(ip), underlays: ['eth0'] });
  const input = makeTable(tunnelTable(PORT), elements);
  execFileSync('nsenter', [`--net=${namespace.path}`, 'nft', '-f', '-'], { input });
};

interface Fault {
  readonly name: string;
  readonly way: readonly [Name, Name];
  readonly stopsAt: string;
  start(tenant: Tenant): void;
  end(tenant: Tenant): void;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'the port of a container is down',
    way: ['a', 'c'],
    stopsAt: 'there h1 bridge',
    start: ({ h1 }) => h1.weft('ip link set pa down'),
    end: ({ h1 }) => h1.weft('ip link set pa up'),
  },
  {
    name: 'the bridge does not know the other container',
    way: ['a', 'c'],
    stopsAt: 'there h1 neighbour',
    start: ({ h1, containers }) => h1.weft(`ip neigh del ${containers.c.ip} dev br-70001`),
    end: ({ h1, containers }) =>
      h1.weft(`ip neigh replace ${containers.c.ip} lladdr ${containers.c.mac} dev br-70001 nud permanent`),
  },
  {
    name: 'no entry leads to the other host',
    way: ['a', 'c'],
    stopsAt: 'there h1 fdb',
    start: ({ h1, h2, containers }) =>
      h1.weft(`bridge fdb del ${containers.c.mac} dev vx-70001 dst ${h2.vtep} self`),
    end: ({ h1, h2, containers }) =>
      h1.weft(`bridge fdb add ${containers.c.mac} dev vx-70001 dst ${h2.vtep} self permanent`),
  },
  {
    name: "the tunnel's device is down",
    way: ['a', 'c'],
    stopsAt: 'there h1 device',
    start: ({ h1 }) => h1.weft('ip link set vx-70001 down'),
    end: ({ h1, h2, containers: { c } }) => {
      h1.weft('ip link set vx-70001 up');
      h1.weft(`bridge fdb replace ${c.mac} dev vx-70001 dst ${h2.vtep} self permanent`);
    },
  },
  {
    name: "the other host's table of the tunnels does not know this one",
    way: ['a', 'c'],
    stopsAt: 'there h2 input-filter',
    start: ({ h2 }) => tunnels(h2, ['172.31.0.9']),
    end: ({ h1, h2 }) => tunnels(h2, [h1.vtep]),
  },
  {
    name: 'the other container is not in the bridge',
    way: ['a', 'c'],
    stopsAt: 'there h2 arrival-bridge',
    start: ({ h2 }) => h2.weft('ip link set pc nomaster'),
    end: ({ h2, containers: { c } }) => {
      h2.weft('ip link set pc master br-70001');
      h2.weft(`bridge fdb replace ${c.mac} dev pc master static`);
    },
  },
  {
    name: 'the other host has no entry for the way back',
    way: ['a', 'c'],
    stopsAt: 'back h2 fdb',
    start: ({ h1, h2, containers }) =>
      h2.weft(`bridge fdb del ${containers.a.mac} dev vx-70001 dst ${h1.vtep} self`),
    end: ({ h1, h2, containers }) =>
      h2.weft(`bridge fdb add ${containers.a.mac} dev vx-70001 dst ${h1.vtep} self permanent`),
  },
  {
    name: 'the port of another container of the same host is down',
    way: ['a', 'b'],
    stopsAt: 'there h1 arrival-bridge',
    start: ({ h1 }) => h1.weft('ip link set pb down'),
    end: ({ h1 }) => h1.weft('ip link set pb up'),
  },
];

function stopOf({ hops }: Trace): string {
  const stop = hops.find(({ ok }) => ok === false);
  return stop === undefined ? 'arrives' : `${stop.way} ${stop.host} ${stop.id}`;
}

const explain = ({ hops }: Trace): string =>
  hops.map(({ way, host, id, ok, found }) => `${way} ${host} ${id} ${ok}: ${found.join('; ')}`).join('\n');

test('a Docker network of weft: each fault is found where it is', { skip }, async (t) => {
  const made = await tenant(t);
  tunnels(made.h1, [made.h2.vtep]);
  tunnels(made.h2, [made.h1.vtep]);
  const arrives = async (from: Name, to: Name) => {
    let last: Trace | undefined;
    const isSo = async () => {
      last = await made.trace(from, to);
      return last.outcome === 'arrives';
    };
    await until(isSo, { what: `way from ${from} to ${to}` }).catch((error) =>
      assert.fail(`${error}\n${last && explain(last)}`),
    );
    return last ?? assert.fail();
  };
  await t.test('between hosts, and on one: the hops', async () => {
    const between = await arrives('a', 'c');
    assert.deepEqual(
      between.hops.filter(({ way }) => way === 'there').map(({ host, id }) => `${host} ${id}`),
      [
        ...['container', 'bridge', 'neighbour', 'device', 'fdb', 'underlay', 'output-filter', 'wire'].map(
          (id) => `h1 ${id}`,
        ),
        ...['input-filter', 'arrival-device', 'arrival-bridge', 'arrival-container'].map((id) => `h2 ${id}`),
      ],
    );
    const inside = await arrives('a', 'b');
    assert.deepEqual(
      inside.hops.map(({ way, id }) => `${way} ${id}`),
      ['there', 'back'].flatMap((way) =>
        ['container', 'bridge', 'arrival-bridge', 'arrival-container'].map((id) => `${way} ${id}`),
      ),
    );
  });
  for (const { name, way, stopsAt, start, end } of FAULTS) {
    await t.test(`${name}: it stops at ${stopsAt}`, async () => {
      start(made);
      try {
        const traced = await made.trace(...way);
        assert.equal(stopOf(traced), stopsAt, explain(traced));
      } finally {
        end(made);
      }
      await arrives(...way);
    });
  }
});
