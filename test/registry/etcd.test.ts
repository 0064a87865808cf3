import { parseEndpoints } from '#src/registry/endpoints.ts';
import { EtcdV2Registry } from '#src/registry/etcd-v2.ts';
import { EtcdV3Registry } from '#src/registry/etcd-v3.ts';
import { systemClock } from '#src/sys/clock.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { complianceSuite } from './compliance.ts';

const PREFIX = '/flannel-vxlan//network/';

complianceSuite('etcd v3', async () => {
  const server = await EtcdServer.start();
  const open = () =>
    new EtcdV3Registry(
      { clock: systemClock },
      { endpoints: parseEndpoints(server.url, { tls: false }), prefix: PREFIX, tls: {} },
    );
  const [registry, other] = [open(), open()];
  return {
    registry,
    other,
    writeConfig: async (text) => void (await server.ctl('put', '/flannel-vxlan/network/config', text)),
    compact: async () => {
      const { revision } = await registry.list(AbortSignal.timeout(5_000));
      await server.ctl('compact', String(revision));
    },
    writeNeighbour: async () =>
      void (await server.ctl('put', '/flannel-vxlan/network/subnets-extra/x', 'no lease')),
    close: async () => {
      await registry.close();
      await other.close();
      await server.stop();
    },
  };
});

complianceSuite('etcd v2', async () => {
  const server = await EtcdServer.start();
  const open = () =>
    new EtcdV2Registry(
      { clock: systemClock },
      { endpoints: parseEndpoints(server.url, { tls: false }), prefix: PREFIX, tls: {} },
    );
  const [registry, other] = [open(), open()];
  return {
    registry,
    other,
    writeConfig: async (text) => void (await server.ctl2('set', '/flannel-vxlan/network/config', text)),
    /** The history is 1,000 events long, whoever wrote them. */
    compact: async () => {
      for (let i = 0; i < 1_100; i += 50) {
        await Promise.all(
          Array.from({ length: 50 }, (_, j) =>
            fetch(`${server.url}/v2/keys/elsewhere/${i + j}`, {
              method: 'PUT',
              body: new URLSearchParams({ value: '' }),
            }).then((response) => response.text()),
          ),
        );
      }
    },
    writeNeighbour: async () =>
      void (await server.ctl2('set', '/flannel-vxlan/network/subnets-extra/x', 'no lease')),
    close: async () => {
      await registry.close();
      await other.close();
      await server.stop();
    },
  };
});
