import { equalPrefix, formatIp, formatPrefix, type Ip, type Prefix } from '#src/lib/ip.ts';
import type { Secret } from '#src/lib/secret.ts';
import { Differences } from '#src/state/differences.ts';
import { kindOf } from '#src/state/kind.ts';

/**
 * What strongSwan's charon knows of one peer: a connection with one child, the key that both hosts share, and whether they
 * have agreed. It is no state of the kernel's, but what makes the kernel's IPsec states.
 */
export interface IkeConnection {
  readonly kind: 'ike-connection';
  readonly local: Ip;
  readonly remote: Ip;
  /** What goes through the tunnel, at this end and at the other. */
  readonly localSubnet: Prefix;
  readonly remoteSubnet: Prefix;
  /** The algorithms of the tunnel in strongSwan's words: `aes128gcm16-sha256`. charon does not say them again. */
  readonly proposal?: string;
  /** ESP in UDP, also without a NAT between the hosts. charon does not say it again. */
  readonly encapsulated?: boolean;
  /** The key that both hosts share. charon does not say it again. */
  readonly secret?: Secret;
  /** Whether the hosts have agreed on keys, or are about to. */
  readonly isUp: boolean;
}

type Ends = Pick<IkeConnection, 'local' | 'remote' | 'localSubnet' | 'remoteSubnet'>;

/** flannel's name of a connection: `OWN-OWNSUBNET-PEERSUBNET-PEER`. */
export const connectionName = ({ local, remote, ...subnets }: Ends): string =>
  `${formatIp(local)}-${childName(subnets)}-${formatIp(remote)}`;

/** flannel's name of the child: `OWNSUBNET-PEERSUBNET`. */
export const childName = ({
  localSubnet,
  remoteSubnet,
}: Pick<Ends, 'localSubnet' | 'remoteSubnet'>): string =>
  `${formatPrefix(localSubnet)}-${formatPrefix(remoteSubnet)}`;

const SECRET_DIFFERS = 'key: not that of the network config';

export const IKE_CONNECTION = kindOf<IkeConnection>({
  name: 'ike-connection',
  // After the policies: what goes out meanwhile is dropped, and not sent as it is.
  rank: 8,
  key: (connection) => `ike-connection ${connectionName(connection)}`,
  sharesSlot: (a, b) =>
    a.remote === b.remote &&
    a.local === b.local &&
    equalPrefix(a.localSubnet, b.localSubnet) &&
    equalPrefix(a.remoteSubnet, b.remoteSubnet),
  hash: ({ remote, remoteSubnet }) => `${formatIp(remote)} ${formatPrefix(remoteSubnet)}`,
  differences: (wanted, found) => [
    ...new Differences()
      .field('ESP proposal', wanted.proposal, found.proposal)
      .field('UDP encapsulation', wanted.encapsulated, found.encapsulated)
      .field('agreed', wanted.isUp, found.isUp).texts,
    ...(wanted.secret === undefined || (found.secret !== undefined && wanted.secret.equals(found.secret))
      ? []
      : [SECRET_DIFFERS]),
  ],
  deviceOf: () => undefined,
  format: connectionName,
  // swanctl reads connections from its own files, so that no command makes one.
  command: (verb, connection) => {
    const name = connectionName(connection);
    return verb === 'remove'
      ? `swanctl --terminate --ike ${name} # and VICI's unload-conn`
      : `swanctl --initiate --ike ${name} --child ${childName(connection)} # after VICI's load-conn`;
  },
});
