import { join, posix } from 'node:path';
import { sha256Hex } from '#src/lib/sha256.ts';
import { assertNetworkName } from '#src/registry/networks.ts';

/** Which network: everything that a network names on a host is derived from this. */
export interface NetworkId {
  /** The key in etcd below which its config and its leases are. */
  readonly prefix: string;
  /** Its name in a daemon of several networks; absent for the one network of a daemon, which looks as flannel's does. */
  readonly name?: string;
}

/** The flags from which the artefacts of a network get their places. */
export interface NetworkPlaces {
  readonly stateDir: string;
  readonly subnetFile: string;
}

/** What a network has on its host beside kernel state. */
export interface NetworkArtefacts {
  /** For log lines and messages: `network blue`, empty for the only network of a daemon. */
  readonly title: string;
  /** The value of the label `network` in metrics; absent for the only network of a daemon. */
  readonly label?: string;
  /** Remembers the lease and the peers across a restart. */
  readonly stateFile: string;
  /** Remembers which keys hold which subnets, where leases are signed. */
  readonly knownKeysFile: string;
  /** Keys that `weft trust forget` asks to forget. */
  readonly forgetFile: string;
  /** The unix socket of the local API. */
  readonly socket: string;
  readonly subnetFile: string;
  /** Held by the one flanneld that serves this network in a network namespace. */
  readonly lock: string;
  /**
   * Distinguishes this network's names where its backend has no number of its own. At most 8
   * letters and digits.
   */
  readonly tag: string;
}

/** The default of `--subnet-file` is a file; flannel's old daemon of several networks wrote to this folder beside it. */
const DEFAULT_SUBNET_FILE = '/run/flannel/subnet.env';
const DEFAULT_SUBNET_FOLDER = '/run/flannel/networks';

/** The same for the same id: a restart, another command and an upgrade find what is there. */
export function artefactsOf({ prefix, name }: NetworkId, places: NetworkPlaces): NetworkArtefacts {
  const digest = sha256Hex(prefix);
  const base = join(places.stateDir, `network-${digest.slice(0, 12)}`);
  return {
    title: name === undefined ? '' : `network ${name}`,
    ...(name !== undefined && { label: name }),
    stateFile: `${base}.json`,
    knownKeysFile: `${base}.keys`,
    forgetFile: `${base}.forget`,
    socket: `${base}.sock`,
    subnetFile: name === undefined ? places.subnetFile : join(subnetFolder(places), `${name}.env`),
    lock: `weft-network-${digest.slice(0, 32)}`,
    tag: digest.slice(0, 8),
  };
}

/** The socket of the local API that says what Docker's driver does, also on a host without a network of flannel's. */
export const driverSocket = ({ stateDir }: Pick<NetworkPlaces, 'stateDir'>): string =>
  join(stateDir, 'docker-driver.sock');

/** Where the fast path writes down what it has changed of the host. */
export const fastPathNote = ({ stateDir }: Pick<NetworkPlaces, 'stateDir'>): string =>
  join(stateDir, 'fast-path.json');

/** Where the files of networks with a name are. */
export const subnetFolder = ({ subnetFile }: NetworkPlaces): string =>
  subnetFile === DEFAULT_SUBNET_FILE ? DEFAULT_SUBNET_FOLDER : subnetFile;

/**
 * One of several networks below a prefix: `<prefix>/<name>/config` and `<prefix>/<name>/subnets`. Throws WeftError
 * `network-name` for a name that can't be one.
 */
export function namedNetwork(prefix: string, name: string): NetworkId {
  assertNetworkName(name);
  return { prefix: posix.join(prefix, name), name };
}
