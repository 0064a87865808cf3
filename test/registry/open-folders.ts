import { parseEndpoints } from '#src/registry/endpoints.ts';
import { EtcdV2RecordFolders } from '#src/registry/etcd-v2-record-folders.ts';
import { EtcdV3RecordFolders } from '#src/registry/etcd-v3-record-folders.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { systemClock } from '#src/sys/clock.ts';
import { type Api, PREFIX } from './open-etcd.ts';

/** Folders below a prefix in one of etcd's two stores. */
export function openFolders(api: Api, url: string, prefix = PREFIX): RecordFolders {
  const options = { endpoints: parseEndpoints(url, { tls: false }), prefix, tls: {} };
  const components = { clock: systemClock, random: () => 0 };
  return api === 'v2'
    ? new EtcdV2RecordFolders(components, options)
    : new EtcdV3RecordFolders(components, options);
}
