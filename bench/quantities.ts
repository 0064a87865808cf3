import type { Bench, Sheet } from './benchmark.ts';
import type { TrafficKind } from './traffic.ts';

/** Processors of the two ends. */
export interface Placement {
  readonly client: number;
  readonly server: number;
}

/** Both ends at work at once; or the two take turns, and no processor wakes the other up. */
const APART: Placement = { client: 0, server: 1 };
const TOGETHER: Placement = { client: 0, server: 0 };

/** What is measured between two containers. */
export interface Quantity {
  readonly kind: TrafficKind;
  readonly on: Placement;
  readonly jumbo?: boolean;
  /** Default true. */
  readonly offload?: boolean;
  /** Rows by what the traffic program calls them, each a value in so many of its units. */
  readonly rows: Readonly<
    Record<string, { readonly what: string; readonly unit: string; readonly per: number }>
  >;
}

export const QUANTITIES: readonly Quantity[] = [
  {
    kind: 'packets',
    on: APART,
    jumbo: true,
    rows: { perSecond: { what: '64-byte packets', unit: 'k/s', per: 1_000 } },
  },
  {
    kind: 'tcp-rr',
    on: TOGETHER,
    rows: {
      p50: { what: 'TCP_RR p50', unit: 'µs', per: 1 },
      p99: { what: 'TCP_RR p99', unit: 'µs', per: 1 },
    },
  },
  {
    kind: 'udp-rr',
    on: TOGETHER,
    rows: {
      p50: { what: 'UDP_RR p50', unit: 'µs', per: 1 },
      p99: { what: 'UDP_RR p99', unit: 'µs', per: 1 },
    },
  },
  {
    kind: 'connections',
    on: TOGETHER,
    rows: { perSecond: { what: 'connections', unit: 'k/s', per: 1_000 } },
  },
  {
    kind: 'stream',
    on: APART,
    jumbo: true,
    rows: { perSecond: { what: 'TCP stream', unit: 'Gbit/s', per: 1e9 / 8 } },
  },
  {
    kind: 'stream',
    on: APART,
    jumbo: true,
    offload: false,
    rows: { perSecond: { what: 'TCP stream without offload', unit: 'Gbit/s', per: 1e9 / 8 } },
  },
];

/** How long one sample of one quantity takes. */
export const SAMPLE_MS = 1_000;

/** Puts what the traffic program reported into the rows of its quantity. */
export function addFigures(
  { say }: Pick<Bench, 'say'>,
  sheet: Sheet,
  name: string,
  { rows }: Quantity,
  found: Readonly<Record<string, number>>,
): void {
  for (const [key, { what, unit, per }] of Object.entries(rows)) {
    const value = (found[key] ?? Number.NaN) / per;
    say(`${what}: ${name} ${value.toFixed(1)} ${unit}`);
    sheet.add(what, unit, name, value);
  }
}
