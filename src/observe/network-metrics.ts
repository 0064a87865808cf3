import { histogramSamples } from '#src/observe/histogram.ts';
import { type Metric, type Sample, samplesBy } from '#src/observe/metric.ts';
import type { DirectionCounters, KindFigures, NetworkMeasured } from '#src/observe/network-figures.ts';

const REGISTRY_STATES = ['connecting', 'connected', 'retrying'] as const;

/** The figures of one network; a daemon of several has the label `network` as well. */
export const NETWORK_METRICS: readonly Metric<NetworkMeasured>[] = [
  {
    name: 'weft_ready',
    type: 'gauge',
    help: '1 when packets flow as they should, as /readyz says',
    value: ({ status: { ready } }) => (ready ? 1 : 0),
  },
  {
    name: 'weft_troubles',
    type: 'gauge',
    help: 'reasons why it is not ready; /readyz and weft status have them in words',
    value: ({ status: { troubles } }) => troubles.length,
  },
  {
    name: 'weft_registry_age_seconds',
    type: 'gauge',
    help: 'seconds since the registry last showed that nothing is missing here',
    value: ({ status: { registry } }) => registry.ageSeconds,
  },
  {
    name: 'weft_registry_state',
    type: 'gauge',
    help: 'the connection to the registry: 1 for the `state` that it is in (connecting, connected, retrying), 0 for the others',
    value: ({ status: { registry } }) =>
      samplesBy(
        'state',
        REGISTRY_STATES.map((state) => [state, registry.state === state ? 1 : 0]),
      ),
  },
  {
    name: 'weft_registry_reconnects_total',
    type: 'counter',
    help: 'times that the registry was back after an outage',
    value: ({ figures: { registry } }) => registry.reconnects,
  },
  {
    name: 'weft_watch_events_total',
    type: 'counter',
    help: 'events of leases that the registry has sent',
    value: ({ figures: { registry } }) => registry.events,
  },
  {
    name: 'weft_lease_expiry_seconds',
    type: 'gauge',
    help: "seconds until this host's own lease ends, if it is not renewed; a reservation has no end",
    value: ({ figures: { lease } }) => lease?.remainingSeconds,
  },
  {
    name: 'weft_lease_renewals_total',
    type: 'counter',
    help: 'renewals of the own lease that the registry has taken, new claims among them',
    value: ({ figures: { lease } }) => lease?.renewals,
  },
  {
    name: 'weft_lease_renewal_failures_total',
    type: 'counter',
    help: 'attempts to renew it that failed; they are repeated',
    value: ({ figures: { lease } }) => lease?.failures,
  },
  {
    name: 'weft_subnets',
    type: 'gauge',
    help: 'subnets that the network has to hand out',
    value: ({ figures: { subnets } }) => subnets?.capacity,
  },
  {
    name: 'weft_subnets_used',
    type: 'gauge',
    help: 'subnets that are leased, this host’s own among them; at weft_subnets no other host can join',
    value: ({ figures: { subnets } }) => subnets?.used,
  },
  {
    name: 'weft_peers',
    type: 'gauge',
    help: 'leases of other hosts that are in use',
    value: ({ status: { peers } }) => peers.accepted,
  },
  {
    name: 'weft_plain_peers',
    type: 'gauge',
    help: 'peers to which packets are not encrypted; only where the backend can encrypt',
    value: ({ status: { peers } }) => peers.plain,
  },
  {
    name: 'weft_key_generation',
    type: 'gauge',
    help: 'number of the WireGuard key in force; it rises with each rotation, and only there',
    value: ({ status: { rotation } }) => rotation?.generation,
  },
  {
    name: 'weft_key_rotation_held_up',
    type: 'gauge',
    help: 'peers for which a rotation of WireGuard keys waits; weft status says why',
    value: ({ status: { rotation } }) => rotation?.heldUp.length,
  },
  {
    name: 'weft_fast_path',
    type: 'gauge',
    help: '1 while flows may go fast, 0 while they may not though the network or the node asks for it; weft status says why',
    value: ({ status: { fastPath } }) => fastPath && (fastPath.state === 'on' ? 1 : 0),
  },
  {
    name: 'weft_fast_path_containers',
    type: 'gauge',
    help: 'addresses of containers here whose flows may go fast',
    value: ({ status: { fastPath } }) => fastPath?.containers,
  },
  {
    name: 'weft_fast_path_peers',
    type: 'gauge',
    help: 'peers to which flows may go fast',
    value: ({ status: { fastPath } }) => fastPath?.peers,
  },
  {
    name: 'weft_fast_path_packets_total',
    type: 'counter',
    help: 'packets that the fast path has looked at, by `result`: encapsulated and decapsulated went fast, the others took the slow way for that reason',
    value: ({ status: { fastPath } }) =>
      fastPath?.packets &&
      samplesBy(
        'result',
        Object.entries(fastPath.packets).map(([name, count]) => [inSnakeCase(name), count]),
      ),
  },
  {
    name: 'weft_quarantined_leases',
    type: 'gauge',
    help: 'leases that are not used because of what they say; weft status says why',
    value: ({ status: { peers } }) => peers.quarantined.length,
  },
  {
    name: 'weft_disputed_leases',
    type: 'gauge',
    help: 'leases that somebody else has written over; packets go on to the hosts that held them',
    value: ({ status: { trust } }) => trust?.disputed.length,
  },
  {
    name: 'weft_refused_leases_total',
    type: 'counter',
    help: 'leases that were refused because of who signed them, or because nobody did',
    value: ({ status: { trust } }) => trust?.refusals,
  },
  {
    name: 'weft_known_keys',
    type: 'gauge',
    help: 'keys that hold a subnet of the network, with a lease or without',
    value: ({ status: { trust } }) => trust?.knownKeys,
  },
  {
    name: 'weft_put_to_route_seconds',
    type: 'histogram',
    help: 'from when an event of leases arrived to when the kernel had what it asks for',
    value: ({ figures: { putToRoute } }) => putToRoute && histogramSamples(putToRoute),
  },
  {
    name: 'weft_kernel_objects_wanted',
    type: 'gauge',
    help: 'devices, addresses, routes, neighbours and forwarding entries that should be in the kernel',
    value: ({ status: { kernel } }) => kernel.wanted,
  },
  {
    name: 'weft_kernel_objects_failing',
    type: 'gauge',
    help: 'those of them that the kernel refused; they are tried again',
    value: ({ status: { kernel } }) => kernel.failing.length,
  },
  {
    name: 'weft_objects',
    type: 'gauge',
    help: 'the same by `kind` (link, address, route, neighbour, fdb, sysctl) and `state`: wanted, found as wanted, failing',
    value: ({ figures: { kinds } }) => [...kinds].flatMap(([kind, figures]) => kindSamples(kind, figures)),
  },
  {
    name: 'weft_repairs_total',
    type: 'counter',
    help: 'repairs of kernel objects, rules and settings that somebody else changed',
    value: ({ status: { kernel } }) => kernel.repairs,
  },
  {
    name: 'weft_object_repairs_total',
    type: 'counter',
    help: 'those of kernel objects and settings, by `kind`',
    value: ({ figures: { kinds } }) =>
      samplesBy(
        'kind',
        Array.from(kinds, ([kind, { repairs }]) => [kind, repairs]),
      ),
  },
  {
    name: 'weft_firewall_repairs_total',
    type: 'counter',
    help: 'repairs of firewall rules that somebody else changed',
    value: ({ figures: { firewall } }) => firewall.repairs,
  },
  {
    name: 'weft_firewall_failing',
    type: 'gauge',
    help: '1 while the firewall rules could not be made as they should be',
    value: ({ figures: { firewall } }) => (firewall.failing ? 1 : 0),
  },
  {
    name: 'weft_full_checks_total',
    type: 'counter',
    help: 'comparisons of everything in the kernel with what is wanted',
    value: ({ status: { kernel } }) => kernel.checks,
  },
  ...deviceMetrics('bytes', 'bytes', ({ bytes }) => bytes),
  ...deviceMetrics('packets', 'packets', ({ packets }) => packets),
  ...deviceMetrics('errors', 'packets with an error', ({ errors }) => errors),
  ...deviceMetrics('drops', 'packets that were dropped', ({ drops }) => drops),
  {
    name: 'weft_event_loop_delay_seconds',
    type: 'gauge',
    help: 'how late the event loop was at most since the last scrape',
    value: ({ status: { eventLoopDelayMs } }) => eventLoopDelayMs / 1000,
  },
];

/** `notFreshOut` is `not_fresh_out`. */
const inSnakeCase = (name: string): string =>
  name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

const kindSamples = (kind: string, { wanted, found, failing }: KindFigures): readonly Sample[] =>
  Object.entries({ wanted, found, failing }).map(([state, value]) => ({ labels: { kind, state }, value }));

/** What the kernel counts of the overlay's own device, in both directions. */
function deviceMetrics(
  what: string,
  words: string,
  of: (counters: DirectionCounters) => number,
): readonly Metric<NetworkMeasured>[] {
  return (['receive', 'transmit'] as const).map((direction) => ({
    name: `weft_device_${direction}_${what}_total`,
    type: 'counter',
    help: `${words} that the overlay's \`device\` has ${direction === 'receive' ? 'received' : 'sent'}, as the kernel counts them`,
    value: ({ figures, devices }) =>
      figures.devices.flatMap((device) => {
        const counters = devices.get(device);
        return counters === undefined ? [] : { labels: { device }, value: of(counters[direction]) };
      }),
  }));
}
