/** One graph or number of the dashboard. */
export interface Panel {
  readonly title: string;
  /** What it means, for a reader who does not know weft. */
  readonly about: string;
  /** PromQL, with what a row is called: `{{instance}}` is filled in. */
  readonly queries: readonly (readonly [query: string, legend: string])[];
  /** Grafana's word: `s`, `bytes`, `Bps`, `pps`, `percentunit`, `short`. */
  readonly unit: string;
  /** Default `timeseries`. */
  readonly type?: 'stat' | 'timeseries';
  /** A number that turns red: at or above this, or below it when `isLowBad`. */
  readonly red?: number;
  readonly isLowBad?: true;
}

export interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

/** Hosts and networks that the reader has chosen. The only network of a daemon has no label. */
const CHOSEN = 'job=~"$job",instance=~"$instance",network=~"$network"';
const HOST = 'job=~"$job",instance=~"$instance"';
const WHERE = '{{instance}} {{network}}';

/** The dashboard, from top to bottom. */
export const ROWS: readonly Row[] = [
  {
    title: 'At a glance',
    panels: [
      {
        title: 'Hosts not ready',
        about: '/readyz and weft status on the host name the reason',
        queries: [[`count(weft_ready{${CHOSEN}} == 0) or vector(0)`, 'not ready']],
        unit: 'short',
        type: 'stat',
        red: 1,
      },
      {
        title: 'Hosts',
        about: 'hosts that answer Prometheus, by network',
        queries: [[`count by (network) (weft_ready{${CHOSEN}})`, 'hosts {{network}}']],
        unit: 'short',
        type: 'stat',
      },
      {
        title: 'Subnets leased',
        about: 'at 100 % no other host can join',
        queries: [
          [`max by (network) (weft_subnets_used{${CHOSEN}} / weft_subnets{${CHOSEN}})`, 'used {{network}}'],
        ],
        unit: 'percentunit',
        type: 'stat',
        red: 0.9,
      },
      {
        title: 'Peers down',
        about: 'peers that probes do not reach inside the tunnel, the worst host of all',
        queries: [[`max by (network) (weft_probed_peers{${CHOSEN},state="down"})`, 'down {{network}}']],
        unit: 'short',
        type: 'stat',
        red: 1,
      },
      {
        title: 'First lease to end',
        about: 'of the hosts’ own leases; they are renewed long before',
        queries: [[`min by (network) (weft_lease_expiry_seconds{${CHOSEN}})`, 'seconds {{network}}']],
        unit: 's',
        type: 'stat',
        red: 1_800,
        isLowBad: true,
      },
    ],
  },
  {
    title: 'Health',
    panels: [
      {
        title: 'Ready',
        about: '1 when packets flow as they should',
        queries: [[`weft_ready{${CHOSEN}}`, WHERE]],
        unit: 'short',
      },
      {
        title: 'Age of the registry’s word',
        about: 'seconds since the registry last showed that nothing is missing',
        queries: [[`weft_registry_age_seconds{${CHOSEN}}`, WHERE]],
        unit: 's',
      },
      {
        title: 'Reconnects and failed renewals',
        about: 'times a minute that the registry was back, and that a lease could not be renewed',
        queries: [
          [`rate(weft_registry_reconnects_total{${CHOSEN}}[5m]) * 60`, `back ${WHERE}`],
          [`rate(weft_lease_renewal_failures_total{${CHOSEN}}[5m]) * 60`, `not renewed ${WHERE}`],
        ],
        unit: 'short',
      },
      {
        title: 'Peers',
        about: 'leases of other hosts that are in use, and those that are not',
        queries: [
          [`weft_peers{${CHOSEN}}`, `in use ${WHERE}`],
          [`weft_quarantined_leases{${CHOSEN}}`, `not used ${WHERE}`],
        ],
        unit: 'short',
      },
      {
        title: 'Peers by probe',
        about: 'what probes found of the peers',
        queries: [[`weft_probed_peers{${CHOSEN}}`, `{{state}} ${WHERE}`]],
        unit: 'short',
      },
    ],
  },
  {
    title: 'Kernel state',
    panels: [
      {
        title: 'Objects not as wanted',
        about: 'wanted less found as wanted, by kind',
        queries: [
          [
            `weft_objects{${CHOSEN},state="wanted"} - ignoring(state) weft_objects{${CHOSEN},state="found"}`,
            `{{kind}} ${WHERE}`,
          ],
        ],
        unit: 'short',
      },
      {
        title: 'Objects failing',
        about: 'what the kernel refuses, by kind, and firewall rules that could not be made',
        queries: [
          [`weft_objects{${CHOSEN},state="failing"}`, `{{kind}} ${WHERE}`],
          [`weft_firewall_failing{${CHOSEN}}`, `rules ${WHERE}`],
        ],
        unit: 'short',
      },
      {
        title: 'Repairs a minute',
        about: 'of what another program has changed',
        queries: [
          [`rate(weft_object_repairs_total{${CHOSEN}}[5m]) * 60`, `{{kind}} ${WHERE}`],
          [`rate(weft_firewall_repairs_total{${CHOSEN}}[5m]) * 60`, `rules ${WHERE}`],
        ],
        unit: 'short',
      },
      {
        title: 'From a lease to its route',
        about: 'half of the events and 99 of 100 were in the kernel after this time',
        queries: [
          [
            `histogram_quantile(0.5, sum by (le) (rate(weft_put_to_route_seconds_bucket{${CHOSEN}}[5m])))`,
            'half',
          ],
          [
            `histogram_quantile(0.99, sum by (le) (rate(weft_put_to_route_seconds_bucket{${CHOSEN}}[5m])))`,
            '99 %',
          ],
        ],
        unit: 's',
      },
    ],
  },
  {
    title: 'Traffic of the overlay’s device',
    panels: [
      {
        title: 'Bytes',
        about: 'above the line received, below it sent',
        queries: [
          [`rate(weft_device_receive_bytes_total{${CHOSEN}}[5m])`, `in ${WHERE}`],
          [`-rate(weft_device_transmit_bytes_total{${CHOSEN}}[5m])`, `out ${WHERE}`],
        ],
        unit: 'Bps',
      },
      {
        title: 'Packets',
        about: 'above the line received, below it sent',
        queries: [
          [`rate(weft_device_receive_packets_total{${CHOSEN}}[5m])`, `in ${WHERE}`],
          [`-rate(weft_device_transmit_packets_total{${CHOSEN}}[5m])`, `out ${WHERE}`],
        ],
        unit: 'pps',
      },
      {
        title: 'Drops and errors',
        about: 'packets that the device dropped or found faulty',
        queries: ['receive', 'transmit'].flatMap((direction) =>
          ['drops', 'errors'].map(
            (what) =>
              [
                `rate(weft_device_${direction}_${what}_total{${CHOSEN}}[5m])`,
                `${direction} ${what} ${WHERE}`,
              ] as const,
          ),
        ),
        unit: 'pps',
      },
    ],
  },
  {
    title: "Docker's driver",
    panels: [
      {
        title: 'Calls a minute',
        about: 'that Docker makes, and those that got an error',
        queries: [
          [`sum by (method) (rate(weft_tenant_driver_calls_total{${HOST}}[5m])) * 60`, '{{method}}'],
          [
            `sum by (method) (rate(weft_tenant_driver_calls_failed_total{${HOST}}[5m])) * 60`,
            'failed {{method}}',
          ],
        ],
        unit: 'short',
      },
      {
        title: 'How long calls take',
        about: '95 of 100 calls were answered in this time',
        queries: [
          [
            `histogram_quantile(0.95, sum by (method, le) (rate(weft_tenant_driver_call_duration_seconds_bucket{${HOST}}[5m])))`,
            '{{method}}',
          ],
        ],
        unit: 's',
      },
      {
        title: 'Endpoints',
        about: 'connections of containers here, and those that are cut off',
        queries: [
          [`weft_tenant_endpoints{${HOST}}`, '{{instance}}'],
          [`weft_tenant_endpoints_cut_off{${HOST}}`, 'cut off {{instance}}'],
        ],
        unit: 'short',
      },
      {
        title: 'Dropped lies',
        about: 'packets under a name that is not the sender’s, by reason',
        queries: [[`rate(weft_tenant_dropped_packets_total{${HOST}}[5m])`, '{{reason}} {{instance}}']],
        unit: 'pps',
      },
    ],
  },
  {
    title: 'The process',
    panels: [
      {
        title: 'Processor',
        about: 'processors in use',
        queries: [[`rate(process_cpu_seconds_total{${HOST}}[5m])`, '{{instance}}']],
        unit: 'percentunit',
      },
      {
        title: 'Memory',
        about: 'in use',
        queries: [[`process_resident_memory_bytes{${HOST}}`, '{{instance}}']],
        unit: 'bytes',
      },
      {
        title: 'Event loop',
        about: 'how late it was at most between two scrapes',
        queries: [[`weft_event_loop_delay_seconds{${CHOSEN}}`, WHERE]],
        unit: 's',
      },
    ],
  },
];
