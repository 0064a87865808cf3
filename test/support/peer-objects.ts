import assert from 'node:assert/strict';
import { parseIp, parsePrefix } from '#src/lib/ip.ts';
import { parseMac } from '#src/lib/mac.ts';
import type { FdbEntry, Neighbour, Route } from '#src/state/object.ts';

/**
 * What a host has in its kernel for a peer in a VXLAN overlay: the peer's subnet is 10.5.9.0/24, its underlay address
 * 192.0.2.9.
 */
const vtep = parseIp('10.5.9.0') ?? assert.fail();
const mac = parseMac('82:4b:b6:2f:54:4e') ?? assert.fail();

export const PEER_NEIGHBOUR: Neighbour = {
  kind: 'neighbour',
  ip: vtep,
  mac,
  device: 'flannel.1',
  permanent: true,
};

export const PEER_FDB: FdbEntry = {
  kind: 'fdb',
  mac,
  destination: parseIp('192.0.2.9') ?? assert.fail(),
  device: 'flannel.1',
  permanent: true,
};

export const PEER_ROUTE: Route = {
  kind: 'route',
  destination: parsePrefix('10.5.9.0/24') ?? assert.fail(),
  type: 'unicast',
  via: vtep,
  device: 'flannel.1',
  onlink: true,
  metric: 0,
  protocol: 3,
  scope: 0,
};
