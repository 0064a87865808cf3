import { EtcdServer } from '../support/etcd-server.ts';
import { complianceSuite } from './compliance.ts';
import { openEtcd } from './open-etcd.ts';

/** Joined as Go's path.Join does, the same keys as `/flannel-vxlan/network`. */
const ODD_PREFIX = '/flannel-vxlan//network/';
/** A write waits for a disk that others keep busy, too. */
const CALL_MS = 20_000;

complianceSuite('etcd v3', async () => {
  const server = await EtcdServer.start();
  const registry = openEtcd('v3', server.url, { prefix: ODD_PREFIX, callTimeoutMs: CALL_MS });
  const other = openEtcd('v3', server.url, { callTimeoutMs: CALL_MS });
  return {
    registry,
    other,
    async writeConfig(text) {
      if (text === undefined) await server.ctl('del', '/flannel-vxlan/network/config');
      else await server.ctl('put', '/flannel-vxlan/network/config', text);
    },
    async compact() {
      const { revision } = await registry.list(AbortSignal.timeout(CALL_MS));
      await server.ctl('compact', String(revision));
    },
    async writeNeighbour() {
      await server.ctl('put', '/flannel-vxlan/network/subnets-extra/x', 'no lease');
    },
    async close() {
      await registry.close();
      await other.close();
      await server.stop();
    },
  };
});

complianceSuite('etcd v2', async () => {
  const server = await EtcdServer.start();
  const registry = openEtcd('v2', server.url, { prefix: ODD_PREFIX, callTimeoutMs: CALL_MS });
  const other = openEtcd('v2', server.url, { callTimeoutMs: CALL_MS });
  return {
    registry,
    other,
    async writeConfig(text) {
      if (text === undefined) await server.ctl2('rm', '/flannel-vxlan/network/config');
      else await server.ctl2('set', '/flannel-vxlan/network/config', text);
    },
    compact: () => server.outrunHistory(),
    async writeNeighbour() {
      await server.ctl2('set', '/flannel-vxlan/network/subnets-extra/x', 'no lease');
    },
    async close() {
      await registry.close();
      await other.close();
      await server.stop();
    },
  };
});
