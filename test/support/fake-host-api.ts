import { createServer, type Server, type ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { Answers, HostEvent, Leases, Peer, PeerProbe, View } from '#src/observe/api.ts';
import { VERSION_HEADER } from '#src/observe/event-stream.ts';
import type { NodeStatus } from '#src/observe/node-status.ts';
import type { UiSource } from '#src/ui/server/ui-source.ts';

/** A local API whose answers a test chooses: the shapes are those of observe/api.ts. */
export class FakeHostApi {
  readonly source: UiSource;
  status: NodeStatus;
  peers: Peer[];
  leases: Leases;
  view: View;
  readonly events: HostEvent[] = [];
  readonly #streams = new Set<ServerResponse>();
  #server: Server | undefined;

  /** Host `number` of a network of so many: 10.0.N.0/24 for small ones, wider numbers for large ones. */
  constructor(folder: string, number: number, hosts: number) {
    this.source = {
      id: `h${number}`,
      host: `h${number}`,
      kind: 'network',
      socket: join(folder, `h${number}.sock`),
    };
    this.status = statusOf(number);
    this.peers = Array.from({ length: hosts }, (_, n) => n + 1)
      .filter((other) => other !== number)
      .map((other) => peerOf(other));
    this.leases = leasesOf(number, hosts);
    this.view = viewOf(this.peers);
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => {
      response.setHeader(VERSION_HEADER, '1');
      const path = (request.url ?? '').split('?')[0] ?? '';
      if (path === '/v1/events' && request.headers.accept?.includes('text/event-stream')) {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.flushHeaders();
        this.#streams.add(response);
        response.once('close', () => this.#streams.delete(response));
        for (const event of this.events) response.write(eventText(event));
        return;
      }
      const answers: Partial<Answers> = {
        '/v1/status': this.status,
        '/v1/peers': { peers: this.peers },
        '/v1/leases': this.leases,
        '/v1/view': this.view,
        '/v1/events': { events: this.events, forgotten: 0 },
        '/v1/counters': { counters: {} },
      };
      const answer = answers[path as keyof Answers];
      response.writeHead(answer === undefined ? 404 : 200, { 'content-type': 'application/json' });
      response.end(JSON.stringify(answer ?? { error: 'no such path' }));
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server.listen(this.source.socket, resolve);
    await promise;
  }

  async stop(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server?.close(() => resolve());
    this.#server?.closeAllConnections();
    await promise;
  }

  /** Changes what it measured of a peer. */
  probe(peer: number, change: Partial<PeerProbe>): void {
    const { lease } = peerOf(peer);
    this.peers = this.peers.map((it) =>
      it.lease === lease && it.probe !== undefined ? { ...it, probe: { ...it.probe, ...change } } : it,
    );
  }

  happen(event: Omit<HostEvent, 'id' | 'at' | 'firstAt' | 'count'>): void {
    const at = new Date().toISOString();
    const whole = { ...event, id: this.events.length + 1, at, firstAt: at, count: 1 };
    this.events.push(whole);
    for (const stream of this.#streams) stream.write(eventText(whole));
  }
}

const eventText = (event: HostEvent): string =>
  `id: ${event.id}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;

const subnetOf = (number: number): string => `10.${number >> 8}.${number & 255}.0/24`;
const publicIpOf = (number: number): string =>
  `172.16.${70 + Math.floor(number / 250)}.${1 + (number % 250)}`;

export const DOWN: Partial<PeerProbe> = {
  state: 'down',
  findings: ['nothing passes inside the tunnel'],
  tunnel: { sent: 10, answered: 0, fullSize: 'lost' },
};

function peerOf(number: number): Peer {
  const subnet = subnetOf(number);
  const at = '2026-01-01T12:00:00.000Z';
  const way = { sent: 10, answered: 10, roundTripMs: 0.3 + (number % 7) / 10, fullSize: 'passes' } as const;
  return {
    lease: subnet.replace('/', '-'),
    subnet,
    publicIp: publicIpOf(number),
    backend: 'vxlan',
    lastSeen: at,
    remainingSeconds: 80_000,
    programmed: 'yes',
    since: at,
    probe: {
      at,
      state: 'up',
      findings: [],
      tunnel: way,
      underlay: way,
      tcp: 'answered',
      workingMtu: 1450,
      responder: true,
    },
  };
}

function statusOf(number: number): NodeStatus {
  return {
    version: '0.1.0',
    node: `node-${number}`,
    ready: true,
    troubles: [],
    network: {
      network: '10.0.0.0/8',
      subnet: subnetOf(number),
      backend: 'vxlan',
      underlay: 'eth0',
      publicIp: publicIpOf(number),
      mtu: 1450,
      routes: 'flannel',
    },
    registry: { description: 'etcd v3 at 172.16.70.190', state: 'connected', ageSeconds: 1 },
    peers: { accepted: 0, quarantined: [] },
    kernel: { wanted: 12, failing: [], repairs: 0, checks: 1 },
    eventLoopDelayMs: 3,
  };
}

function leasesOf(own: number, hosts: number): Leases {
  const leases = Array.from({ length: hosts }, (_, n) => {
    const { lease, subnet = '', publicIp = '' } = peerOf(n + 1);
    return {
      ...{ lease, subnet, publicIp, backend: 'vxlan', node: `node-${n + 1}`, own: n + 1 === own },
      expiry: 'expires' as const,
      remainingSeconds: 80_000,
    };
  });
  return { network: '10.0.0.0/8', subnetLength: 24, capacity: 65_535, used: hosts, leases };
}

const viewOf = (peers: readonly Peer[]): View => ({
  slots: peers.map(({ lease, subnet }) => {
    const found = `${subnet} via ${subnet?.replace('/24', '')} dev flannel.1 onlink`;
    const wanted = `ip route add ${found}`;
    return {
      key: `route ${subnet}`,
      kind: 'route',
      owner: '/coreos.com/network',
      subject: lease,
      wanted,
      found,
    };
  }),
});
