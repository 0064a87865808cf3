import { type NetworksRequest, socketsOf } from '#src/cli/ask-networks.ts';
import { fastPathLines } from '#src/cli/fast-path-lines.ts';
import { type LookContext, lookCommand, show, WATCH_FLAG } from '#src/cli/look-command.ts';
import { countPeers } from '#src/cli/peer-filter.ts';
import { plainText } from '#src/cli/plain-text.ts';
import { inTone } from '#src/cli/screen.ts';
import { formatAge, formatSpan } from '#src/cli/spans.ts';
import { WeftError } from '#src/lib/errors.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { driverSocket } from '#src/node/network-id.ts';
import type { Events, HostEvent, Peers } from '#src/observe/api.ts';
import { askHost, askNode } from '#src/observe/ask-status.ts';
import type { DriverNetwork, DriverStatus } from '#src/observe/driver-status.ts';
import type {
  ChangeStatus,
  HostStatus,
  NodeStatus,
  RotationStatus,
  TrustStatus,
} from '#src/observe/node-status.ts';

/** What is shown of one network, or of a host without one. */
export interface StatusView {
  readonly status: NodeStatus | HostStatus;
  /** Absent where the daemon does not answer such questions. */
  readonly peers?: Peers;
  readonly events?: Events;
}

/** `weft status`: what the flanneld on this host knows of its networks. 0 when all of them are ready. */
export const STATUS = lookCommand({
  name: 'status',
  takes: '',
  help: [
    '  What the flanneld on this host knows of its networks, and what its driver of Docker networks does. Exit code 0 when',
    '  all is ready, 1 when something is not.',
  ],
  flags: WATCH_FLAG,
  async run(call, context) {
    const { clock, screen } = context;
    const views = await show(
      {
        title: 'weft status',
        ask: () => askViews(call, context),
        lines: (networks) => formatViews(networks, { now: clock.now(), hasColour: screen.hasColour }),
        json: (networks) => (networks.length === 1 ? networks[0]?.status : networks.map((it) => it.status)),
        essence: (networks) => networks.map((view) => essenceOf(view, clock.now())),
      },
      call.options,
      context,
    );
    if (views === undefined) return 0;
    const isReady = views.every(({ status }) => status.ready);
    return isReady && (views[0]?.status.docker?.troubles.length ?? 0) === 0 ? 0 : 1;
  },
});

/** Of each network that was meant; of the host alone where its flanneld serves Docker's driver and no network. */
async function askViews(
  call: NetworksRequest & { readonly options: FlanneldOptions & { readonly json: boolean } },
  context: LookContext,
): Promise<StatusView[]> {
  const { options, id } = call;
  const sockets = await socketsOf(context, call);
  const answers = await Promise.all(
    sockets.map(async (socket) => ({ socket, answer: await askNode(socket, { signal: context.signal }) })),
  );
  const views = answers.flatMap(({ socket, answer }) =>
    answer === undefined || answer === 'silent' ? [] : [{ socket, status: answer }],
  );
  if (views.length > 0)
    return options.json ? views : Promise.all(views.map((view, at) => withMore(view, at === 0, context)));
  const host = id?.name === undefined ? await askHost(driverSocket(options)) : undefined;
  if (host !== undefined && host !== 'silent') return [{ status: host }];
  const silent = answers.find(({ answer }) => answer !== undefined);
  const what =
    silent === undefined
      ? 'no flanneld serves this network'
      : 'flanneld holds its socket but does not answer';
  throw new WeftError('not-running', `${what} on this host (${silent?.socket ?? sockets[0]})`, {
    remedy: 'look at "systemctl status flanneld"; --etcd-prefix and --state-dir must be those of the daemon',
  });
}

/** A daemon from before version 1 of the API has no more than its status. */
async function withMore(
  { socket, status }: StatusView & { readonly socket: string },
  isFirst: boolean,
  { ask, signal }: LookContext,
): Promise<StatusView> {
  const [peers, events] = await Promise.all([
    ask(socket, '/v1/peers', { signal }).catch(absent),
    ask(socket, '/v1/events', { signal }).catch(absent),
  ]);
  // Every socket of a daemon answers all of its events. What is of the whole host is shown once.
  const own = events?.events.filter(({ network }) => network === nameOf(status) || (isFirst && !network));
  return { status, ...(peers && { peers }), ...(events && own && { events: { ...events, events: own } }) };
}

const nameOf = (status: NodeStatus | HostStatus): string | undefined =>
  'name' in status ? status.name : undefined;

function absent(error: unknown): undefined {
  if (!(error instanceof WeftError)) throw error;
}

/** Ages and counters of looks are no news. */
function essenceOf({ status, peers, events }: StatusView, now: number): unknown {
  const { eventLoopDelayMs: _delay, registry, kernel, fastPath, ...rest } = status as NodeStatus;
  const { packets: _packets, ...fast } = fastPath ?? {};
  return [
    rest,
    fast,
    registry && [registry.description, registry.state],
    kernel && [kernel.wanted, kernel.failing, kernel.repairs],
    peers && countPeers(peers.peers),
    events && warningsOf(events, now).map(({ id }) => id),
  ];
}

interface Look {
  readonly now: number;
  readonly hasColour: boolean;
}

/** The networks, then what Docker's driver does. Exported for its test. */
export function formatViews(views: readonly StatusView[], look: Look): string[] {
  const docker = views[0]?.status.docker;
  return [
    ...views.flatMap((view) => formatView(view, look)),
    ...(docker === undefined ? [] : formatDriver(docker, look)),
  ];
}

function formatView({ status, peers, events }: StatusView, look: Look): string[] {
  return [
    ...formatStatus(status, look),
    ...(peers === undefined ? [] : probesLine(peers)),
    ...(events === undefined ? [] : warningsOf(events, look.now).map((event) => warningLine(event, look))),
  ];
}

/** Nothing where nothing was measured. */
function probesLine({ peers }: Peers): string[] {
  const { up, degraded, down, unmeasured } = countPeers(peers);
  if (up + degraded + down === 0) return [];
  const more = [
    ...(degraded > 0 ? [`${degraded} degraded`] : []),
    ...(unmeasured > 0 ? [`${unmeasured} not measured yet`] : []),
  ];
  return [`  probes     ${[`${up} up`, `${down} down`, ...more].join(', ')}`];
}

/** So many warnings are shown. "weft events" has the others. */
const NEWEST = 3;
const RECENT_MS = 3_600_000;

/** Not those that the troubles say better, and not what is long over. */
const warningsOf = ({ events }: Events, now: number): HostEvent[] =>
  events
    .filter(
      ({ severity, type, at }) =>
        severity !== 'info' && type !== 'not-ready' && now - Date.parse(at) < RECENT_MS,
    )
    .slice(-NEWEST);

function warningLine({ at, subject, text, count, severity }: HostEvent, { now, hasColour }: Look): string {
  const often = count > 1 ? ` (${count} times)` : '';
  const line = `  event      ${formatAge(at, now)} ago, ${plainText(`${subject}: ${text}`)}${often}`;
  return inTone(line, severity === 'error' ? 'bad' : 'warning', hasColour);
}

function formatStatus(status: NodeStatus | HostStatus, { hasColour }: Look): string[] {
  if (!('registry' in status))
    return [`weft ${status.version}, node ${status.node}, no network of flannel's`];
  const { name, ready, troubles, network, registry, peers, trust, kernel, version, node } = status;
  const { rotation, change, fastPath } = status;
  const age =
    registry.ageSeconds === undefined ? 'never heard' : `certain ${registry.ageSeconds.toFixed(1)} s ago`;
  return [
    `weft ${version}, node ${node}${name === undefined ? '' : `, network ${name}`}: ${readyText(ready, hasColour)}`,
    ...troubles.map((trouble) => `  trouble    ${plainText(trouble)}`),
    ...(network === undefined
      ? []
      : [
          `  subnet     ${network.subnet} of ${network.network} (${network.backend}, MTU ${network.mtu})`,
          ...(network.ipv6Subnet === undefined
            ? []
            : [`             ${network.ipv6Subnet} of ${network.ipv6Network}`]),
          `  underlay   ${network.underlay}, public IP ${network.publicIp}`,
          ...(network.publicIpv6 === undefined
            ? []
            : [`             ${network.ipv6Address}, public IP ${network.publicIpv6}`]),
        ]),
    `  registry   ${registry.description}: ${registry.state}, ${age}`,
    `  peers      ${peers.accepted}${network?.routes === 'linear' ? ', each route with a metric of its own' : ''}`,
    ...(peers.plain === undefined
      ? []
      : [
          inTone(
            `  encrypted  ${encryptedText(peers.accepted, peers.plain)}`,
            peers.plain > 0 ? 'warning' : undefined,
            hasColour,
          ),
        ]),
    ...(fastPath === undefined ? [] : fastPathLines(fastPath, { hasColour })),
    ...(rotation === undefined ? [] : rotationLines(rotation)),
    ...(change === undefined ? [] : changeLines(change)),
    ...(trust === undefined ? [] : [trustLine(trust)]),
    ...peers.quarantined.map(({ lease, reason }) => `  ignored    ${plainText(`${lease}: ${reason}`)}`),
    `  kernel     ${kernel.wanted - kernel.failing.length} of ${kernel.wanted} objects as wanted, ${kernel.repairs} repairs since the start`,
    ...kernel.failing.map(({ key, reason }) => `  failing    ${plainText(`${key}: ${reason}`)}`),
  ];
}

function rotationLines({
  generation,
  phase,
  peers = 0,
  moved = 0,
  nextSeconds,
  heldUp,
  reason,
}: RotationStatus): string[] {
  const how = {
    idle: nextSeconds === undefined ? 'at rest' : `the next is due in ${formatSpan(nextSeconds * 1000)}`,
    moving: `packets to ${moved} of ${peers} peers go by the next one`,
    ending: 'the next one is in force, and the old device goes soon',
  }[phase];
  return [
    `  keys       number ${generation}, ${how}${reason === undefined ? '' : `; not rotated: ${plainText(reason)}`}`,
    ...heldUp.map((it) => `  held up    ${plainText(`${it.lease}: ${it.reason}`)}`),
  ];
}

/** "weft network change --status" has the other hosts. */
const changeLines = ({ id, phase, from, to, done, of, waits, trouble }: ChangeStatus): string[] => [
  `  change     from ${from} to ${to} (${plainText(id)}, ${phase}): done with ${done} of ${of} peers`,
  ...(trouble === undefined ? [] : [`  held up    this host: ${plainText(trouble)}`]),
  ...waits.map(({ lease, reason }) => `  held up    ${plainText(`${lease}: ${reason}`)}`),
];

const encryptedText = (accepted: number, plain: number): string =>
  plain === 0
    ? `packets to all ${accepted} peers`
    : `packets to ${accepted - plain} of ${accepted} peers, ${plain} plain`;
function trustLine({ policy, key, unsigned, knownKeys, disputed }: TrustStatus): string {
  const written =
    disputed.length === 0
      ? ''
      : `, ${disputed.length === 1 ? 'a lease was' : `${disputed.length} leases were`} written over by others`;
  const others = unsigned === 'accept' ? 'unsigned leases are accepted' : 'unsigned leases are refused';
  return `  trust      ${policy}, own key ${key}, ${knownKeys} known keys, ${others}${written}`;
}

const readyText = (ready: boolean, hasColour: boolean): string =>
  inTone(ready ? 'ready' : 'NOT READY', ready ? 'good' : 'bad', hasColour);

const STATES = {
  off: 'off',
  waiting: 'waits for Docker on this host',
  starting: 'starts',
  on: 'on',
} as const satisfies Record<DriverStatus['state'], string>;
/** So many containers of a network are named. */
const NAMED = 5;

/** What Docker's driver does; exported for its test. */
export function formatDriver(
  { state, troubles, networks }: DriverStatus,
  { hasColour }: Pick<Look, 'hasColour'>,
): string[] {
  const used = networks.filter(({ containers }) => containers.length > 0);
  const idle = networks.length - used.length;
  return [
    `Docker's driver: ${STATES[state]}${troubles.length > 0 ? `, ${readyText(false, hasColour)}` : ''}`,
    ...troubles.map((trouble) => `  trouble    ${plainText(trouble)}`),
    ...used.map((network) => `  network    ${networkText(network)}`),
    ...(idle > 0 ? [`  networks   ${idle}${used.length > 0 ? ' more' : ''} without a container here`] : []),
  ];
}

function networkText({ name, vni, subnets, containers, cutOff }: DriverNetwork): string {
  const more = containers.length > NAMED ? ', …' : '';
  const noun = containers.length === 1 ? 'container' : 'containers';
  const named = `${containers.length} ${noun} here (${containers.slice(0, NAMED).join(', ')}${more})`;
  return `${name}: VNI ${vni}, ${subnets.join(', ')}, ${named}${cutOff > 0 ? `, ${cutOff} cut off` : ''}`;
}
