import { ADDRESS_STATES } from '#src/observe/driver-status.ts';

/** A JSON schema (2020-12), as far as this API needs one. */
export type Schema = { readonly [key: string]: unknown };

/** Fields that are always there. */
type Fields = Readonly<Record<string, Schema>>;

const text = (description?: string): Schema => ({ type: 'string', ...(description && { description }) });
const whole = (description?: string): Schema => ({
  type: 'integer',
  minimum: 0,
  ...(description && { description }),
});
const figure = (description: string): Schema => ({ type: 'number', minimum: 0, description });
const flag = (description: string): Schema => ({ type: 'boolean', description });
const oneOf = (values: readonly string[], description?: string): Schema => ({
  type: 'string',
  enum: values,
  ...(description && { description }),
});
const time = (description: string): Schema => ({ type: 'string', format: 'date-time', description });
const list = (items: Schema, description?: string): Schema => ({
  type: 'array',
  items,
  ...(description && { description }),
});
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
/** Nothing but these fields: a field that is not described is found by the test. */
const object = (always: Fields, sometimes: Fields = {}): Schema => ({
  type: 'object',
  properties: { ...always, ...sometimes },
  required: Object.keys(always),
  additionalProperties: false,
});

const HOST_STATUS: Fields = {
  version: text(),
  node: text('the identity of the node'),
  ready: flag('whether packets flow as they should'),
  troubles: list(text(), 'why they don’t, one clause each'),
};
const REASON = object({ lease: text(), reason: text() });
const SUBNET_COUNTS: Fields = {
  network: text(),
  subnetLength: whole('bits of a lease’s prefix'),
  capacity: whole('subnets that can be given out'),
  used: whole('those of them that a lease has, or a part of which it has'),
};
const LEASE_FACTS: Fields = {
  subnet: text('`10.0.65.0/24`; absent where the record can’t be read'),
  ipv6Subnet: text('of a lease that has both families'),
  publicIp: text(),
  publicIpv6: text('of a lease that has both families'),
  backend: text('`vxlan`, `host-gw`, …'),
  node: text('the identity of the node; absent for flannel’s'),
};
const REMAINING = whole(
  'seconds until the lease expires; absent for a reservation, and where that is not known',
);
const PROBE: Fields = {
  at: time('when it was measured'),
  state: oneOf(['up', 'degraded', 'down']),
  findings: list(text(), 'what is wrong, one clause each'),
  tunnel: ref('ProbedWay'),
  underlay: ref('ProbedWay'),
  tcp: oneOf(['answered', 'refused', 'silent', 'not tried']),
  responder: flag('whether the peer has weft’s responder'),
};
const PROBE_MTU: Fields = { workingMtu: whole('bytes of the largest packet that passes inside the tunnel') };
const VTEP = object({ address: text(), mac: text() });

/** Of observe/api.ts, observe/node-status.ts and observe/driver-status.ts, by the names of the types. */
export const SCHEMAS: Readonly<Record<string, Schema>> = {
  Refusal: object({ error: text('what could not be done, to what, why, and what to do') }),
  HostStatus: object(HOST_STATUS, { docker: ref('DriverStatus') }),
  NodeStatus: object(
    {
      ...HOST_STATUS,
      registry: object(
        { description: text('the API and the endpoints'), state: text() },
        { ageSeconds: figure('since it last showed that nothing is missing here') },
      ),
      peers: object(
        { accepted: whole(), quarantined: list(REASON, 'leases that are not used') },
        {
          plain: whole('peers to which packets are not encrypted; absent where the backend never encrypts'),
        },
      ),
      kernel: object({
        wanted: whole('objects that should be in the kernel'),
        failing: list(object({ key: text(), reason: text() })),
        repairs: whole('repairs of what had been right, since the start'),
        checks: whole('comparisons of everything, since the start'),
      }),
      eventLoopDelayMs: figure('milliseconds that the event loop was late at most since the last answer'),
    },
    {
      name: text('the network’s name in a daemon of several networks'),
      fastPath: ref('FastPathStatus'),
      rotation: ref('RotationStatus'),
      change: ref('ChangeStatus'),
      trust: object({
        policy: oneOf(['first-use', 'allow-list'], 'whose leases are used'),
        unsigned: oneOf(['accept', 'refuse'], 'what is done with leases without a signature'),
        key: text('this node’s public key, in base64url'),
        knownKeys: whole('keys that hold a subnet, present or not'),
        disputed: list(text(), 'leases that somebody else has written over'),
        refusals: whole('records refused since the start because of who signed them, or not'),
      }),
      network: object(
        {
          network: text(
            'of IPv4, or of IPv6 in a network without IPv4; so are subnet, underlay and publicIp',
          ),
          subnet: text(),
          backend: text(),
          underlay: text(),
          publicIp: text(),
          mtu: whole('bytes'),
          routes: oneOf(['flannel', 'linear'], 'as flannel writes them, or with a metric each'),
        },
        {
          ipv6Network: text('of a network that has both families'),
          ipv6Subnet: text('likewise'),
          ipv6Address: text('of an underlay that has both families'),
          publicIpv6: text('likewise'),
        },
      ),
      docker: ref('DriverStatus'),
    },
  ),
  DriverStatus: object({
    state: oneOf(['off', 'waiting', 'starting', 'on']),
    troubles: list(text()),
    networks: list(ref('DriverNetwork')),
  }),
  DriverNetwork: object(
    {
      name: text(),
      vni: whole(),
      subnets: list(text()),
      containers: list(text()),
      cutOff: whole('containers whose address another host has'),
    },
    { addresses: object(Object.fromEntries(ADDRESS_STATES.map((state) => [state, whole()]))) },
  ),
  Peers: object({ peers: list(ref('Peer'), 'in no particular order') }),
  RotationStatus: object(
    {
      generation: whole('number of the WireGuard key in force'),
      phase: oneOf(
        ['idle', 'moving', 'ending'],
        'how far the rotation is; moving: peers go over to the next key',
      ),
      heldUp: list(REASON, 'peers for which it waits'),
    },
    {
      peers: whole('while it moves: peers that there are'),
      moved: whole('while it moves: peers to which packets go by the next key'),
      nextSeconds: whole('at rest: until this node begins one, if nobody else does'),
      reason: text('why none can begin'),
    },
  ),
  ChangeStatus: object(
    {
      id: text('the plan’s'),
      phase: oneOf(['prepare', 'moving', 'settling', 'aborted'], 'how far the whole network is'),
      from: text('the type of the backend of the old path'),
      to: text('likewise of the new one'),
      done: whole('peers with which this node is done in this phase'),
      of: whole('peers that there are'),
      waits: list(REASON, 'some of the others'),
    },
    { trouble: text('why this node can not do its part') },
  ),
  FastPathStatus: object(
    {
      state: oneOf(
        ['starting', 'on', 'paused', 'refused'],
        'paused: somebody has to see all packets for a while; refused: the reasons say why',
      ),
      reasons: list(text(), 'why flows don’t go fast, one clause each'),
      containers: whole('addresses of containers here whose flows may go fast'),
      peers: whole('peers to which flows may go fast'),
      slowPeers: list(REASON, 'the other accepted peers'),
      queues: list(
        object({ device: text(), queue: text() }),
        'devices of containers that stay slow, because packets wait in a queue there',
      ),
      tcp: flag('whether TCP goes fast, too'),
    },
    {
      packets: {
        type: 'object',
        additionalProperties: { type: 'integer', minimum: 0 },
        description:
          'packets since it was switched on, by what was done with them; the metrics have the same',
      },
    },
  ),
  Peer: object(
    {
      lease: text('the lease’s name in the registry: `10.0.65.0-24`'),
      lastSeen: time('when its lease was last written, or renewed by a write, as seen here'),
      programmed: oneOf(['yes', 'no', 'quarantined'], 'whether what it needs is in the kernel'),
      since: time('since when its lease is in use, or in quarantine'),
    },
    {
      ...LEASE_FACTS,
      vtep: { ...VTEP, description: 'the other end of the tunnel, where the backend has one' },
      encryption: oneOf(
        ['wireguard', 'ipsec', 'none'],
        'what keeps packets to it from being read on the way; absent where the backend never encrypts',
      ),
      wireguard: ref('WireguardFigures'),
      remainingSeconds: REMAINING,
      reason: text('why it is not programmed'),
      probe: ref('PeerProbe'),
    },
  ),
  WireguardFigures: object(
    {
      received: whole('bytes on the wire since the peer was added'),
      sent: whole('likewise'),
    },
    {
      endpoint: text('where packets go now: `192.0.2.1:51820`; behind a NAT it is not the lease’s address'),
      handshakeAt: time('the last handshake; absent before the first'),
    },
  ),
  PeerProbe: object(PROBE, {
    ...PROBE_MTU,
    ipv4: ref('FamilyProbe'),
    ipv6: ref('FamilyProbe'),
  }),
  FamilyProbe: object(PROBE, PROBE_MTU),
  ProbedWay: object(
    { sent: whole(), answered: whole(), fullSize: oneOf(['passes', 'lost', 'not tried']) },
    { roundTripMs: figure('milliseconds, of the last answer') },
  ),
  SubnetCounts: object(SUBNET_COUNTS),
  Leases: object(
    { ...SUBNET_COUNTS, leases: list(ref('LeaseView'), 'our own first, then in no particular order') },
    { ipv6: ref('SubnetCounts') },
  ),
  LeaseView: object(
    {
      lease: text(),
      own: flag('it is this node’s own'),
      expiry: oneOf(['expires', 'reservation', 'unknown']),
    },
    { ...LEASE_FACTS, remainingSeconds: REMAINING, quarantined: text('why it is not used') },
  ),
  View: object({ slots: list(ref('ViewSlot')) }),
  ViewSlot: object(
    { key: text(), kind: text('`link`, `address`, `route`, `neighbour`, `fdb`, `sysctl`, …') },
    {
      owner: text(),
      subject: text('what it is wanted for: `own`, or a lease’s name'),
      wanted: text('the command that makes it'),
      found: text('in iproute2’s words'),
      failure: text(),
    },
  ),
  Events: object({
    events: list(ref('HostEvent'), 'oldest first'),
    forgotten: whole('older ones that the daemon has forgotten'),
  }),
  HostEvent: object(
    {
      id: whole('rises with each event of the process; a repetition has an id of its own'),
      at: time('when it last happened'),
      type: oneOf([
        'start',
        'ready',
        'not-ready',
        'registry',
        'lease',
        'peer',
        'repair',
        'failure',
        'probe',
        'config',
        'rotation',
        'underlay',
      ]),
      severity: oneOf(['info', 'warning', 'error']),
      subject: text('a lease, a device, a slot of the kernel, the registry, a peer'),
      text: text('one sentence'),
      count: { type: 'integer', minimum: 1, description: 'how often it happened in a row' },
      firstAt: time('when it first happened in this row'),
    },
    { network: text('the network’s name in a daemon of several networks') },
  ),
  Counters: object({
    counters: {
      type: 'object',
      additionalProperties: { type: 'number' },
      description: 'as `/metrics` has them: the name with its labels, and the value',
    },
  }),
};
