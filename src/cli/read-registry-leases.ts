import { withRegistry } from '#src/cli/with-registry.ts';
import { leasesOfRegistry } from '#src/diagnose/leases-of-registry.ts';
import { silentLogger } from '#src/lib/log.ts';
import { parseNetworkConfig } from '#src/network/network-config.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import type { Leases } from '#src/observe/api.ts';
import { leasesFor } from '#src/registry/ipv6-leases.ts';
import type { LeaseRecord } from '#src/registry/records.ts';
import type { Registry } from '#src/registry/registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';

/** etcd v3 is asked for each lease by itself. Of so many the end is asked for, so many at a time. */
const MOST_ENDS = 2_000;
const AT_A_TIME = 32;

/** The leases from the registry itself, for a host without a daemon. Throws WeftError `registry` or `config`. */
export async function readRegistryLeases(
  options: FlanneldOptions,
  context: { readonly signal: AbortSignal },
): Promise<{ readonly leases: Leases; readonly description: string }> {
  // A machine that is no node does not become one here.
  const looking = {
    ...systemFiles,
    writeAtomically: async () => {},
    append: async () => {},
    createExclusively: async () => false,
  };
  const identity = await readNodeIdentity({ files: looking, log: silentLogger }, options.stateDir);
  return withRegistry(options, context, async ({ registry: opened, config: text }, signal) => {
    const config = parseNetworkConfig(text, opened.api === 'v2' ? 'v0.9.1' : 'head');
    const registry = leasesFor(opened, config.ranges);
    const { records } = await registry.list(signal);
    const ends = await endsOf(registry, records, signal);
    return {
      leases: leasesOfRegistry({ config, records, identity, ends, now: systemClock.now() }),
      description: registry.description,
    };
  });
}

async function endsOf(
  registry: Registry,
  records: readonly LeaseRecord[],
  signal: AbortSignal,
): Promise<Map<string, number>> {
  const ends = new Map<string, number>();
  const left = records.filter(({ expiry }) => expiry.kind === 'leased').slice(0, MOST_ENDS);
  const work = Array.from({ length: AT_A_TIME }, async () => {
    for (let record = left.pop(); record !== undefined; record = left.pop()) {
      const at = await registry.expiryOf(record, signal);
      if (at !== undefined) ends.set(record.name, at);
    }
  });
  await Promise.all(work);
  return ends;
}
