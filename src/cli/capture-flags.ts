import type { FlagTable } from '#src/lib/go-flags.ts';

const text = (description: string) =>
  ({ kind: 'string', default: '', environment: false, description }) as const;
const many = (description: string) =>
  ({ kind: 'repeatable', default: [], environment: false, description }) as const;
const number = (description: string) =>
  ({ kind: 'int', default: 0, environment: false, description }) as const;
const flag = (description: string) =>
  ({ kind: 'bool', default: false, environment: false, description }) as const;

/** What `weft capture` can be given. */
export const CAPTURE_FLAGS = {
  container: many(
    'only frames from and to this container of the host: `NAME`, id or an IP address of any container',
  ),
  peer: many('only frames from and to this `HOST`: its lease, subnet, public IP or identity'),
  vni: many('only frames with this `number` of a network'),
  network: text(
    "only frames of this network, by its `name`: one of Docker's, or one of several of flannel's",
  ),
  device: many(
    'capture on this `device`, or on any; without it on the underlay and on the overlay’s own devices',
  ),
  inner: flag("capture on the overlay's own devices only: frames without the tunnel around them"),
  port: many('also take this UDP `port` for a tunnel’s; 8472, 8473 and 4789 are known'),
  read: text('read the frames from this `file`, pcapng or pcap'),
  write: text('write the frames to this `file`, pcapng, and print no lines'),
  count: number('end after so many `frames`'),
  seconds: number('end after so many `seconds`'),
  'snap-length': {
    kind: 'int',
    default: 65_535,
    environment: false,
    description: 'keep so many `bytes` of a frame',
  },
  json: flag('print one JSON object a frame'),
} as const satisfies FlagTable;
