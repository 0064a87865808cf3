import { dns } from './dns.ts';
import { leases, trust } from './leases.ts';
import { etcdV2, etcdV3, flags, netlink, rules } from './readers.ts';
import { storeCalls, storeTxns, storeWatches } from './store-calls.ts';
import { storeFrames } from './store-frames.ts';
import type { Target } from './target.ts';

export const TARGETS: readonly Target[] = [
  storeFrames,
  storeCalls,
  storeTxns,
  storeWatches,
  etcdV2,
  etcdV3,
  netlink,
  rules,
  flags,
  dns,
  leases,
  trust,
];
