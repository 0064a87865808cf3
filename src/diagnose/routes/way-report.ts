/** Where packets to one address go from this host, and why: what `weft routes ADDRESS` shows. */
export interface WayReport {
  readonly address: string;
  /**
   * `peer`: in the subnet of another host. `own`: in this host's. `quarantined`: in a lease that is not used. `free`: in the
   * network, and nobody has a lease. `docker`: in a subnet of a network of Docker's driver. `outside`: none of these.
   */
  readonly place: 'peer' | 'own' | 'quarantined' | 'free' | 'docker' | 'outside';
  /** One sentence: whose address it is. */
  readonly text: string;
  /** The lease that has it. */
  readonly lease?: string;
  readonly publicIp?: string;
  /** What decides the way, one sentence each. */
  readonly why: readonly string[];
  /** What the kernel should have for the peer; empty where nothing is wanted of it. */
  readonly wanted: readonly WantedObject[];
  /** What the kernel says that it would do now. */
  readonly kernel: readonly KernelAnswer[];
  /** What keeps packets from going as they should; empty when nothing was found. */
  readonly wrong: readonly Wrong[];
}

export interface WantedObject {
  /** `route`, `neighbour`, `fdb`. */
  readonly kind: string;
  /** In the words of `ip` and `bridge`. */
  readonly object: string;
  /** How what is there differs, one text each; empty when it is as wanted. */
  readonly differences: readonly string[];
}

export interface KernelAnswer {
  /** The command that asks the same. */
  readonly command: string;
  readonly answer: string;
  readonly isWanted: boolean;
}

export interface Wrong {
  /** One clause. */
  readonly what: string;
  /** A command or a setting. */
  readonly remedy?: string;
}
