import type { Membership } from '#src/membership/membership.ts';
import { parseSubnetName } from '#src/network/subnet-name.ts';
import { isUsable, type SubnetRange, subnetCount } from '#src/network/subnet-range.ts';
import type { DataPath } from '#src/node/data-path.ts';
import type { HistogramSnapshot } from '#src/observe/histogram.ts';
import type { NetworkFigures } from '#src/observe/network-figures.ts';
import type { ProbeCounts } from '#src/observe/probe-metrics.ts';

/** What a network's figures are made from; what is absent has not begun. */
export interface CountedNetwork {
  readonly dataPath: Pick<DataPath, 'intent' | 'table' | 'owner' | 'rules'> | undefined;
  readonly membership: Pick<Membership, 'counts' | 'remainingMs'> | undefined;
  readonly putToRoute: HistogramSnapshot | undefined;
  readonly probes?: ProbeCounts | undefined;
}

/** What is counted of one network. */
export function networkFigures({ dataPath, membership, putToRoute, probes }: CountedNetwork): NetworkFigures {
  const { renewals = 0, failures = 0, reconnects = 0, events = 0 } = membership?.counts ?? {};
  const remainingMs = membership?.remainingMs;
  return {
    ...(membership !== undefined && {
      lease: {
        ...(remainingMs !== undefined && { remainingSeconds: remainingMs / 1000 }),
        renewals,
        failures,
      },
    }),
    registry: { reconnects, events },
    ...(dataPath !== undefined && { subnets: subnetsOf(dataPath) }),
    ...(putToRoute !== undefined && { putToRoute }),
    kinds: dataPath?.owner.kinds ?? new Map(),
    firewall: {
      repairs: dataPath?.rules.repairs ?? 0,
      failing: dataPath?.rules.failure !== undefined,
    },
    devices: dataPath?.intent.backend.devices ?? [],
    ...(probes !== undefined && { probes }),
  };
}

/** A lease in quarantine takes a subnet all the same; a key that names none does not. Ours is not in the table. */
function subnetsOf({ intent, table }: Pick<DataPath, 'intent' | 'table'>): {
  readonly capacity: number;
  readonly used: number;
} {
  const { v4, v6 } = intent.config.ranges;
  const ranges = [
    ...(v4 === undefined ? [] : [{ family: 'v4', range: v4 } as const]),
    ...(v6 === undefined ? [] : [{ family: 'v6', range: v6 } as const]),
  ];
  // The family with the fewest subnets says how many hosts there can be.
  const [scarce] = ranges.sort((a, b) => subnetCount(a.range) - subnetCount(b.range));
  if (scarce === undefined) return { capacity: 0, used: 0 };
  const range: SubnetRange = scarce.range;
  let used = 1;
  for (const { name } of table.records()) {
    const subnet = parseSubnetName(name)?.[scarce.family];
    if (subnet !== undefined && isUsable(range, subnet)) used++;
  }
  return { capacity: subnetCount(range), used };
}
