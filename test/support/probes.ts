import assert from 'node:assert/strict';
import { artefactsOf } from '#src/node/network-id.ts';
import type { PeerProbe } from '#src/observe/api.ts';
import { askApi } from '#src/observe/api-client.ts';
import { until } from '#src/sys/until.ts';
import { PREFIX } from './flanneld.ts';
import type { Node } from './network.ts';

/** The socket of a host's local API. */
export const apiSocketOf = ({ host }: Pick<Node, 'host'>): string =>
  artefactsOf({ prefix: PREFIX }, { stateDir: host.path('/var/lib/weft'), subnetFile: '' }).socket;

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
  return until(ask, { what, intervalMs: 50 }).catch((error: Error) =>
    assert.fail(`${error.message}; ${from.host.name} knows of it: ${JSON.stringify(last)}`),
  );
}
