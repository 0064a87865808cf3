import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Flow } from '#src/fast-path/map-layouts.ts';
import { decide, type ModelState } from '#src/fast-path/model.ts';
import { hopped, udpFrame, vxlanFrame } from '#src/fast-path/vxlan-frame.ts';
import { parseIpv4, parsePrefix4 } from '#src/lib/ip.ts';
import type { Mac } from '#src/lib/mac.ts';

/* h1 with the container 10.5.1.2, whose peer h2 has 10.5.2.0/24. Decisions for packets that say what they are by name. */

const ip = (text: string) => parseIpv4(text) ?? assert.fail(text);
const mac = (last: number): Mac => `02:00:00:00:00:0${last}` as Mac;
const LOCAL = ip('10.5.1.2');
const REMOTE = ip('10.5.2.2');
const [H1, H2] = [ip('192.168.77.1'), ip('192.168.77.2')];

const state = (more: Partial<ModelState> = {}): ModelState => ({
  settings: {
    kind: 'fast-path',
    set: 'flannel.1',
    underlay: 'eth0',
    vtep: H1,
    mac: mac(1),
    vni: 1,
    port: 8472,
    freshMs: 1000,
    tcp: true,
    generation: 0,
  },
  peers: [
    {
      kind: 'fast-peer',
      set: 'flannel.1',
      subnet: parsePrefix4('10.5.2.0/24') ?? assert.fail(),
      vtep: H2,
      mac: mac(2),
    },
  ],
  locals: new Map([[LOCAL, { ifindex: 9, mac: mac(3) }]]),
  isFresh: () => true,
  ifindex: 9,
  mac: mac(4),
  ingressIfindex: 7,
  tunnelIfindex: 7,
  tunnelMtu: 1450,
  ...more,
});
const ports = { sourcePort: 1, destinationPort: 2 };
const sent = udpFrame({ source: LOCAL, destination: REMOTE, ...ports }, Buffer.from('x'));
const inner = hopped(udpFrame({ source: REMOTE, destination: LOCAL, ...ports }, Buffer.from('x')), {
  to: mac(1),
  from: mac(2),
});
function wire({ source = H2, vni = 1, ecn = 0 } = {}): Uint8Array {
  const bytes = vxlanFrame(inner, { source, destination: H1, sourcePort: 5, port: 8472, vni, id: 1, ecn });
  bytes.set([2, 0, 0, 0, 0, 4], 0);
  return bytes;
}
const changed = (packet: Uint8Array, at: number, byte: number): Uint8Array => {
  const copy = Uint8Array.from(packet);
  copy[at] = byte;
  return copy;
};
const tcp = (flags: number): Uint8Array => {
  const frame = udpFrame({ source: LOCAL, destination: REMOTE, ...ports }, new Uint8Array(12));
  frame[23] = 6;
  frame[47] = flags;
  return frame;
};

const OUT: readonly (readonly [string, Uint8Array, Partial<ModelState>, string | undefined])[] = [
  ['a fresh flow', sent, {}, 'encapsulated'],
  ['a flow that is not fresh', sent, { isFresh: () => false }, 'notFreshOut'],
  ['while it is switched off', sent, { settings: { ...state().settings, freshMs: 0 } }, undefined],
  ['to nobody’s subnet', changed(sent, 32, 3), {}, undefined],
  ['with another container’s address', sent, { ifindex: 10 }, 'wrongSourceOut'],
  ['with an address that no container has', changed(sent, 29, 3), {}, 'notFreshOut'],
  ['a fragment', changed(sent, 20, 0x20), {}, 'unusual'],
  ['IP options', changed(sent, 14, 0x46), {}, 'unusual'],
  ['a TTL that ends here', changed(sent, 22, 1), {}, 'unusual'],
  ['padded', Buffer.concat([sent, Buffer.alloc(17)]), {}, 'unusual'],
  ['ICMP', changed(sent, 23, 1), {}, 'otherProtocol'],
  ['too long', sent, { tunnelMtu: 28 }, 'tooLong'],
  ['TCP, ACK', tcp(0x10), {}, 'encapsulated'],
  ['TCP, SYN', tcp(0x02), {}, 'openingOrClosing'],
  ['TCP, FIN and ACK', tcp(0x11), {}, 'openingOrClosing'],
  ['TCP, RST', tcp(0x04), {}, 'openingOrClosing'],
  [
    'TCP without conntrack’s leave',
    tcp(0x10),
    { settings: { ...state().settings, tcp: false } },
    'tcpIsSlow',
  ],
];
for (const [name, packet, more, count] of OUT)
  test(`from a container: ${name}`, () => {
    const decision = decide('from-container', packet, state(more));
    assert.equal(decision.count, count);
    assert.equal(decision.fast !== undefined, count === 'encapsulated');
  });

const IN: readonly (readonly [string, Uint8Array, Partial<ModelState>, string | undefined])[] = [
  ['a fresh flow', wire(), {}, 'decapsulated'],
  ['a flow that is not fresh', wire(), { isFresh: () => false }, 'notFreshIn'],
  ['another VNI', wire({ vni: 2 }), {}, undefined],
  ['from a VTEP that does not have the subnet', wire({ source: ip('192.168.77.3') }), {}, 'wrongSourceIn'],
  ['met congestion', wire({ ecn: 3 }), {}, 'congestion'],
  ['for another machine’s MAC', changed(wire(), 5, 9), {}, undefined],
  ['for another VXLAN device', changed(wire(), 55, 9), {}, undefined],
  ['to an address that no container has', changed(wire(), 83, 9), {}, undefined],
  ['a fragment outside', changed(wire(), 20, 0x20), {}, undefined],
  ['lengths that contradict each other', changed(wire(), 39, 9), {}, 'unusual'],
];
for (const [name, packet, more, count] of IN)
  test(`from the wire: ${name}`, () => {
    const decision = decide('from-wire', packet, state(more));
    assert.equal(decision.count, count);
    assert.equal(decision.fast !== undefined, count === 'decapsulated');
  });

test('noted is what the rules let out from a container to a peer, and in from a peer through the tunnel', () => {
  const flow = (source: Flow['source'], destination: Flow['source']): Flow => ({
    source,
    destination,
    ...ports,
    protocol: 17,
  });
  assert.deepEqual(decide('note-out', sent, state()).noted, flow(LOCAL, REMOTE));
  assert.deepEqual(decide('note-in', inner, state()).noted, flow(REMOTE, LOCAL));
  assert.equal(decide('note-in', inner, state({ ingressIfindex: 9 })).noted, undefined);
  assert.equal(decide('note-out', inner, state()).noted, undefined);
  // The host's own address after masquerade.
  assert.equal(decide('note-out', changed(sent, 29, 0), state()).noted, undefined);
});
