import { CompactionRequest, DeleteRangeRequest, PutRequest } from '#src/etcd/rpc.ts';
import { EtcdApi } from '../support/etcd-api.ts';
import { TestStore } from '../support/store.ts';
import { complianceSuite } from './compliance.ts';
import { openEtcd } from './open-etcd.ts';

complianceSuite('etcd v3, served by the embedded store', async () => {
  const server = await TestStore.start();
  const api = new EtcdApi(server.url);
  const registry = openEtcd('v3', server.url, { prefix: '/flannel-vxlan//network/' });
  const other = openEtcd('v3', server.url);
  const write = async (key: string, value: string): Promise<void> => {
    const request = PutRequest.create({ key: Buffer.from(key), value: Buffer.from(value) });
    await api.call(api.kv, api.kv.put, request);
  };
  return {
    registry,
    other,
    async writeConfig(text) {
      const key = '/flannel-vxlan/network/config';
      if (text !== undefined) return write(key, text);
      await api.call(api.kv, api.kv.deleteRange, DeleteRangeRequest.create({ key: Buffer.from(key) }));
    },
    writeNeighbour: () => write('/flannel-vxlan/network/subnets-extra/x', 'no lease'),
    async compact() {
      const { revision } = await registry.list(AbortSignal.timeout(20_000));
      await api.call(api.kv, api.kv.compact, CompactionRequest.create({ revision }));
    },
    async close() {
      await registry.close();
      await other.close();
      api.close();
      await server.remove();
    },
  };
});
