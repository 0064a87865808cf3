/** One frame of a capture, live or from a file. */
export interface Frame {
  /** Nanoseconds since the epoch; absent where a file has none. */
  readonly at?: bigint;
  /** The device that it passed; empty where a file does not say. */
  readonly device: string;
  /** What `bytes` begin with. */
  readonly linkType: LinkType;
  /** As seen from the host; absent where a file does not say. */
  readonly direction?: 'in' | 'out';
  /** In a live capture valid until the listener returns. */
  readonly bytes: Uint8Array;
  /** Bytes on the wire; more than `bytes` where the capture has cut it. */
  readonly originalLength: number;
  /** The network whose own device it passed, without a tunnel around it. */
  readonly vni?: number;
  /** Its checksum is still to be filled in: a wrong one means nothing. */
  readonly checksumPending?: boolean;
}

/** LINKTYPE_* of pcap: <https://www.tcpdump.org/linktypes.html>. */
export type LinkType = (typeof LINK_TYPES)[keyof typeof LINK_TYPES];

export const LINK_TYPES = {
  ethernet: 1,
  /** An IP packet and nothing before it. */
  raw: 101,
  /** What `tcpdump -i any` writes: 16 bytes in place of Ethernet's header. */
  linuxSll: 113,
  /** The same of tcpdump since 4.99: 20 bytes. */
  linuxSll2: 276,
} as const;

const KNOWN: readonly number[] = Object.values(LINK_TYPES);
export const isLinkType = (number: number): number is LinkType => KNOWN.includes(number);
