import assert from 'node:assert/strict';
import { artefactsOf } from '#src/node/network-id.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX } from './flanneld.ts';
import type { Node } from './network.ts';

/** The socket of a host's local API. */
export const apiSocketOf = ({ host }: Pick<Node, 'host'>, prefix = PREFIX): string =>
  artefactsOf({ prefix }, { stateDir: host.path('/var/lib/weft'), subnetFile: '' }).socket;

/** A look at a peer has several packets, and a loaded machine is late with each. */
const PATIENCE_MS = 30_000;

/** On a busy machine a node that works takes seconds to answer. */
export const PATIENT = { silenceMs: 10_000 } as const;

/** What a host has measured of another one; `undefined` before its first look. */
export async function probeOf(from: Node, to: Pick<Node, 'subnet'>): Promise<PeerProbe | undefined> {
  const { peers } = await askApi(apiSocketOf(from), '/v1/peers', PATIENT);
  return peers.find(({ lease }) => lease === `${to.subnet}.0-24`)?.probe;
}

/** Waits until a host has measured this of another one. */
export async function untilProbed(
  from: Node,
  to: Pick<Node, 'subnet'>,
  what: string,
  isIt: (probe: PeerProbe) => boolean,
): Promise<PeerProbe> {
  let last: PeerProbe | undefined;
  const ask = async () => {
    last = await probeOf(from, to);
    return last !== undefined && isIt(last) ? last : undefined;
  };
  return until(ask, { what, intervalMs: 50, timeoutMs: PATIENCE_MS }).catch((error: Error) =>
    assert.fail(`${error.message}; ${from.host.name} knows of it: ${JSON.stringify(last)}`),
  );
}

export interface AllUp {
  /** How many there are: a lease that is still there after its test is one too many. */
  readonly peers: number;
  /** Of the network. Default that of the tests. */
  readonly prefix?: string;
  /** False: the host itself may have troubles. Default true. */
  readonly isReady?: boolean;
}

/** Waits until a host is ready, and has measured each of its peers to be up. */
export async function untilAllUp(
  from: Pick<Node, 'host'>,
  { peers, prefix, isReady = true }: AllUp,
): Promise<void> {
  const socket = apiSocketOf(from, prefix);
  let last: unknown;
  const areUp = async (): Promise<boolean> => {
    const { ready, troubles } = await askApi(socket, '/v1/status');
    const found = (await askApi(socket, '/v1/peers')).peers;
    last = [troubles, found.map(({ lease, probe }) => [lease, probe])];
    if (isReady && !ready) return false;
    return found.length === peers && found.every(({ probe }) => probe?.state === 'up');
  };
  const what = `${peers} peers of ${from.host.name} that are up`;
  await until(areUp, { what, intervalMs: 50, timeoutMs: 2 * PATIENCE_MS }).catch((error: Error) =>
    assert.fail(`${error.message}; it knows: ${JSON.stringify(last)}`),
  );
}

/** Down, with this as the reason: it takes some packets more until the underlay is known, too. */
export const isDownBy =
  (why: RegExp) =>
  ({ state, findings }: PeerProbe): boolean =>
    state === 'down' && why.test(findings.join());
