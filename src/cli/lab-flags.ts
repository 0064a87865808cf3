import { UI_FLAGS } from '#src/cli/ui-flags.ts';
import type { FlagTable } from '#src/lib/go-flags.ts';

const name = {
  kind: 'string',
  default: 'demo',
  description: 'of the lab: small letters and digits; two labs side by side need two `name`s',
} as const;
const json = { kind: 'bool', default: false, description: 'write one JSON value instead of text' } as const;

const number = (text: string, least: number, most: number): string | undefined =>
  /^\d+$/.test(text) && Number(text) >= least && Number(text) <= most
    ? undefined
    : `must be a number from ${least} to ${most}`;

/** The flags of each subcommand of `weft lab`. */
export const LAB_FLAGS = {
  up: {
    name,
    hosts: {
      kind: 'string',
      default: '2',
      description: '`number` of hosts, 1 to 200',
      check: (text: string) => number(text, 1, 200),
    },
    containers: {
      kind: 'string',
      default: '1',
      description: '`number` of containers on each host, 0 to 50',
      check: (text: string) => number(text, 0, 50),
    },
    underlay: {
      kind: 'choice',
      default: 'auto',
      choices: ['auto', 'l2', 'l3'],
      description:
        'l2: all hosts on one bridge; l3: each in a subnet of its own behind a router; auto: l2 for up to 30 hosts',
    },
    store: {
      kind: 'choice',
      default: 'embedded',
      choices: ['embedded', 'etcd'],
      description: 'what coordinates the hosts: the embedded store, or a real etcd',
    },
    members: {
      kind: 'choice',
      default: '1',
      choices: ['1', '3'],
      description: 'of etcd, with --store=etcd',
    },
    backend: {
      kind: 'string',
      default: 'vxlan',
      description: "the network's backend, by flannel's `name`: vxlan, host-gw",
    },
    docker: {
      kind: 'bool',
      default: false,
      description: 'real Docker containers instead of plain namespaces',
    },
    network: {
      kind: 'repeatable',
      default: [],
      description:
        'with --docker: an isolated network of this `name` too, with a container on each host; may be repeated; NAME=SUBNET gives it another subnet than 10.5.0.0/24',
    },
    flanneld: { kind: 'string', default: '', description: '`path` of another flanneld to run on the hosts' },
    json,
  },
  exec: { name },
  ping: { name, json },
  walk: { name, json },
  status: { name, json },
  ui: { name, ...UI_FLAGS },
  break: {
    name,
    host: { kind: 'string', default: 'h1', description: 'the `host` that is damaged' },
    for: { kind: 'duration', default: 5_000, description: 'how long a fault of the store lasts' },
    json,
  },
  down: { name },
  relay: {
    listen: { kind: 'string', default: '', description: '`address:port` to listen on' },
    to: { kind: 'string', default: '', description: '`address:port` to pass connections on to' },
    'delay-ms': { kind: 'int', default: 0, description: 'added to each answer' },
  },
  echoes: { 'per-second': { kind: 'int', default: 200, description: 'how many echoes are sent' } },
} as const satisfies Readonly<Record<string, FlagTable>>;

export type LabCommandName = keyof typeof LAB_FLAGS;
type InnerName = 'relay' | 'echoes';

/** The words that each subcommand takes after its flags, and its purpose. `relay` and `echoes` are for the lab itself. */
export const LAB_USAGE: Readonly<Record<Exclude<LabCommandName, InnerName>, readonly [string, string]>> = {
  up: ['', 'make a whole network on this machine: store, hosts, flanneld, containers'],
  exec: ['HOST[/CONTAINER] -- COMMAND…', 'run a command on a host or in a container'],
  ping: [
    '[NETWORK…]',
    'ping between containers of one network on different hosts; flannel: those in none of --network',
  ],
  walk: ['[FROM TO]', 'show the way of one packet between two containers, hop by hop'],
  status: ['', 'show the hosts, what runs on them, their subnets and containers'],
  ui: [
    '',
    'serve a page that shows the hosts, their tunnels and the way of a packet, until it is interrupted',
  ],
  break: ['[FAULT]', 'cause a fault in the lab and report the outcome; without a name, list the faults'],
  down: ['', 'end the lab and take away all that it made'],
};

/** The same of those that the lab runs itself. */
export const INNER_USAGE: Readonly<Record<InnerName, readonly [string, string]>> = {
  relay: ['', 'pass connections on, late'],
  echoes: ['ADDRESS', 'send echo requests and print each answer, until it is interrupted'],
};
