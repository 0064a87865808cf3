import { type Ipv4, ipv4 } from '#src/lib/ip.ts';
import type { EchoReply } from '#src/sys/icmp-socket.ts';
import type { WireSockets } from '#src/sys/wire-sockets.ts';

/** Where an inner packet's destination and an echo's sequence number are in an outer IPv4 packet of VXLAN without options. */
const INNER_DESTINATION = 66;
const ECHO_SEQUENCE = 76;

/** Peers that answer echoes, each form of them as the test says. */
export interface AnsweringWire {
  readonly sockets: WireSockets;
  /** Whether an echo that the kernel puts into VXLAN is answered, and one without a UDP checksum. */
  plain: (to: Ipv4) => boolean;
  bare: (to: Ipv4) => boolean;
  /** Outer packets that were sent without a checksum. */
  readonly sent: Uint8Array[];
}

export function answeringWire(): AnsweringWire {
  const replies: EchoReply[] = [];
  const wire: AnsweringWire = {
    plain: () => true,
    bare: () => true,
    sent: [],
    sockets: {
      icmp: {
        async open() {
          replies.length = 0;
          return {
            send({ to, sequence }) {
              if (wire.plain(to as Ipv4)) replies.push({ from: to, sequence });
              return undefined;
            },
            receive: () => replies.shift(),
            watch() {},
            close() {},
          };
        },
      },
      openSender: async () => ({
        send(packet) {
          wire.sent.push(packet);
          const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
          const from = ipv4(view.getUint32(INNER_DESTINATION));
          if (wire.bare(from)) replies.push({ from, sequence: view.getUint16(ECHO_SEQUENCE) });
        },
        close() {},
      }),
    },
  };
  return wire;
}
