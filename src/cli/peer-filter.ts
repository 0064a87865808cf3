import { WeftError } from '#src/lib/errors.ts';
import { containsAddress, equalPrefix, parseIp, parsePrefix } from '#src/lib/ip.ts';
import { didYouMean } from '#src/lib/nearest-word.ts';
import type { Peer } from '#src/observe/api.ts';

/** What can be said of a peer in one word, the best first. */
export const PEER_STATES = ['up', 'degraded', 'down', 'missing', 'quarantined', 'unmeasured'] as const;
export type PeerState = (typeof PEER_STATES)[number];

/** `missing`: the kernel does not have what it needs. `unmeasured`: it has, and no probe has looked yet. */
export function stateOf({ programmed, probe }: Pick<Peer, 'programmed' | 'probe'>): PeerState {
  if (programmed === 'quarantined') return 'quarantined';
  if (programmed === 'no') return 'missing';
  return probe?.state ?? 'unmeasured';
}

/** How many peers are in each state. */
export function countPeers(peers: readonly Peer[]): Record<PeerState, number> {
  const counts = { up: 0, degraded: 0, down: 0, missing: 0, quarantined: 0, unmeasured: 0 };
  for (const peer of peers) counts[stateOf(peer)]++;
  return counts;
}

type Test = (peer: Peer) => boolean;

/**
 * Whether a peer is meant by the words: those that name states, and those that name peers; each of the two groups counts
 * only when there are such words. Throws WeftError `usage` for a word that is neither.
 */
export function filterOf(words: readonly string[]): Test {
  const states = words.filter(isState);
  const names = words.filter((word) => !isState(word)).map(nameTest);
  return (peer) =>
    (states.length === 0 || states.includes(stateOf(peer))) &&
    (names.length === 0 || names.some((test) => test(peer)));
}

const isState = (word: string): word is PeerState => (PEER_STATES as readonly string[]).includes(word);

/** The beginning of a node's identity: so many digits at least. */
const NODE = /^[0-9a-f][0-9a-f-]{3,}$/i;
const LEASE = /^[0-9a-f.:]+-\d+(&[0-9a-f:]+-\d+)?$/i;

function nameTest(word: string): Test {
  const ip = parseIp(word);
  if (ip !== undefined) {
    return ({ subnet, publicIp }) =>
      publicIp === word || prefixesOf(subnet).some((prefix) => containsAddress(prefix, ip));
  }
  const prefix = parsePrefix(word);
  if (prefix !== undefined) return ({ subnet }) => prefixesOf(subnet).some((own) => equalPrefix(own, prefix));
  if (LEASE.test(word)) return ({ lease }) => lease === word;
  if (NODE.test(word)) return ({ node = '' }) => node.startsWith(word);
  const hint = didYouMean(word, PEER_STATES, '"weft peers --help" says what can be chosen');
  throw new WeftError('usage', `"${word}" is no address, lease, node or state of a peer; ${hint}`, {
    exitCode: 2,
  });
}

/** A lease of both families has two. */
const prefixesOf = (subnet = '') =>
  subnet.split(/[,& ]+/).flatMap((text) => {
    const prefix = parsePrefix(text);
    return prefix === undefined ? [] : [prefix];
  });
