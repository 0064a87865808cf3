import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseIp } from '#src/lib/ip.ts';
import { type KernelObject, type Route, RTPROT_WEFT } from '#src/state/object.ts';
import { Drift } from '../support/drift.ts';
import { type DualNetwork, dualNetwork } from '../support/dual-network.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';
import { duringTraffic } from '../support/traffic.ts';

/*
 * What others do to the plain routes of a host, in each family, under traffic of 200 packets a second from c on h1 to c on h2; each
 * time they must come back as they were:
 *
 *     h1 .191 fd77::1 flanneld ── docker0 ── c          c ── docker0 ── flanneld .192 fd77::2 h2
 *      └ eth0: the kernel's own messages change its routes, and show when they are right again
 */
const skip = cannotRun('etcd', 'etcdctl', 'ping');
const configOf = (backend: string): string =>
  `{"Network":"10.0.0.0/16","SubnetLen":24,"EnableIPv6":true,"IPv6Network":"fd00:10::/48","Backend":${backend}}`;

const isOurs = (object: KernelObject): object is Route =>
  object.kind === 'route' && object.protocol === RTPROT_WEFT;
const isOf = (route: Route, family: 4 | 6): boolean => route.destination.family === family;

for (const [called, backend] of [
  ['host-gw', '{"Type":"host-gw"}'],
  ['DirectRouting', '{"Type":"vxlan","DirectRouting":true}'],
] as const) {
  describe(called, () => {
    let made: DualNetwork | undefined;
    wholeFile(skip, async (owner) => {
      made = await dualNetwork(owner, { config: configOf(backend) });
      owner.after(async () => device.close());
    });
    const network = (): DualNetwork => made ?? assert.fail('there is no network');
    const device = new Drift(() => network().one.host, 'eth0', isOurs);

    for (const family of [4, 6] as const) {
      const routeIn = (state: readonly KernelObject[]): Route =>
        state.filter(isOurs).find((route) => isOf(route, family)) ?? assert.fail('there is no route');
      const drift = (what: string, act: (route: Route) => Promise<void>): Promise<void> =>
        device.measure(
          `${called}, IPv${family}: ${what}`,
          (state) => act(routeIn(state)),
          (all) => {
            const { one, two } = network();
            return duringTraffic(one.container, family === 4 ? two.container.address : two.address6, all);
          },
        );
      const elsewhere = parseIp(family === 4 ? '172.16.70.190' : 'fd77::190') ?? assert.fail();

      test(`IPv${family}: a deleted route is put back`, { skip }, () =>
        drift('route deleted', (object) => device.apply({ verb: 'remove', object })),
      );

      test(`IPv${family}: a route that leads elsewhere leads to the peer again`, { skip }, () =>
        drift('route replaced', (object) =>
          device.apply({ verb: 'replace', object: { ...object, via: elsewhere } }),
        ),
      );

      test(`IPv${family}: a route in the place of ours, of another protocol, makes way`, { skip }, () =>
        drift('route of another program in its place', (object) =>
          device.apply({ verb: 'replace', object: { ...object, protocol: 4 } }),
        ),
      );
    }

    test('a flapped underlay has its routes again', { skip }, () =>
      device.measure(
        `${called}: underlay flapped`,
        async () => {
          // Linux takes the addresses of IPv6 along, which are the host's and not ours.
          await network().one.host.must(['sysctl', '-qw', 'net.ipv6.conf.eth0.keep_addr_on_down=1']);
          await device.apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: false } });
          await device.apply({ verb: 'set', object: { kind: 'link', name: 'eth0', up: true } });
        },
        (all) => duringTraffic(network().one.container, network().two.container.address, all),
      ),
    );
  });
}
