import type { DumpQuery, Kernel } from '#src/kernel/kernel.ts';
import { SharedNext } from '#src/lib/shared-next.ts';
import type { KernelObject, Link } from '#src/state/object.ts';

/**
 * A kernel whose lists are shared by those that ask for the same at the same time: the networks of a host look at its devices,
 * addresses and routes when they start, and each list is as long as there are networks. Each answer is from after the question.
 */
export function sharedReads(kernel: Kernel): Kernel {
  const links = new SharedNext<readonly Link[]>(() => kernel.links());
  const dumps = new Map<string, SharedNext<KernelObject[]>>();
  const dumpOf = (query: DumpQuery): SharedNext<KernelObject[]> => {
    const key = JSON.stringify([query.kinds, query.device, query.protocol]);
    const known = dumps.get(key) ?? new SharedNext(() => kernel.dump(query));
    dumps.set(key, known);
    return known;
  };
  return {
    kinds: kernel.kinds,
    links: () => links.call(),
    // Those of one device are short, and there may be as many as there are devices.
    dump: async (query) =>
      query.device === undefined ? [...(await dumpOf(query).call())] : kernel.dump(query),
    scan: (query, visit) => kernel.scan(query, visit),
    apply: (operations) => kernel.apply(operations),
    monitor: (listener, signal) => kernel.monitor(listener, signal),
    muffle: (devices) => kernel.muffle(devices),
    routeTo: (ip) => kernel.routeTo(ip),
    decide: (question) => kernel.decide(question),
    close: () => kernel.close(),
  };
}
