import { readdirSync, readFileSync } from 'node:fs';

/** What an etcd, or its proxy, has done since its start, and what it holds. */
export interface EtcdFigures {
  /** Of /metrics, summed over labels. */
  readonly messagesReceived: number;
  readonly messagesSent: number;
  readonly fsyncs: number;
  readonly commits: number;
  readonly watchers: number;
  readonly slowWatchers: number;
  readonly databaseMegabytes: number;
  readonly leaderChanges: number;
  readonly residentMegabytes: number;
  readonly sentMegabytes: number;
}

const MEGABYTE = 1024 * 1024;

/** Reads Prometheus' text format: names with the sums of all their samples. */
export function sumsOf(text: string): Map<string, number> {
  const sums = new Map<string, number>();
  for (const line of text.split('\n')) {
    const match = /^([a-zA-Z_:][\w:]*)(?:\{.*\})? (\S+)$/.exec(line);
    const [, name = '', value = ''] = match ?? [];
    if (match !== null) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

export function etcdFigures(text: string): EtcdFigures {
  const sums = sumsOf(text);
  const get = (name: string): number => sums.get(name) ?? 0;
  return {
    messagesReceived: get('grpc_server_msg_received_total'),
    messagesSent: get('grpc_server_msg_sent_total'),
    fsyncs: get('etcd_disk_wal_fsync_duration_seconds_count'),
    commits: get('etcd_disk_backend_commit_duration_seconds_count'),
    watchers: get('etcd_debugging_mvcc_watcher_total'),
    slowWatchers: get('etcd_debugging_mvcc_slow_watcher_total'),
    databaseMegabytes: get('etcd_mvcc_db_total_size_in_bytes') / MEGABYTE,
    leaderChanges: get('etcd_server_leader_changes_seen_total'),
    residentMegabytes: get('process_resident_memory_bytes') / MEGABYTE,
    sentMegabytes: get('etcd_network_client_grpc_sent_bytes_total') / MEGABYTE,
  };
}

/** Seconds of processor of all threads of a process that are there: the scheduler's count, in nanoseconds. */
export function processorSeconds(pid: number): number {
  let nanoseconds = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      nanoseconds += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0]);
    } catch (error) {
      // It ended in between.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
  }
  return nanoseconds / 1e9;
}
