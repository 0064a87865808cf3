import { type Frame, LINK_TYPES, type LinkType } from '#src/diagnose/capture/frame.ts';
import type { BpfInstructions } from '#src/sys/bpf-program.ts';
import type { ReceivedFrame } from '#src/sys/packet-message.ts';
import type { PacketSocket, PacketSocketOptions } from '#src/sys/packet-socket.ts';

/** A device to capture on. */
export interface CapturePoint {
  readonly device: string;
  /** Its network namespace, as a path; absent for the process's own. */
  readonly namespace?: string;
  /** Absent: every frame. */
  readonly filter?: BpfInstructions;
}

export interface LiveCaptureComponents {
  readonly openSocket: (options: PacketSocketOptions) => Promise<PacketSocket>;
  /** Each frame; its bytes are valid until this returns. */
  readonly onFrame: (frame: Frame) => void;
  /** A device went down, or away for good. */
  readonly onOutage: (device: string, state: 'down' | 'gone') => void;
}

/** Frames of some devices as they pass. */
export class LiveCapture {
  readonly #sockets: { readonly point: CapturePoint; readonly socket: PacketSocket }[] = [];

  /** Throws a WeftError `packet-socket` or `netns`, and nothing is open then. */
  static async start(
    { openSocket, onFrame, onOutage }: LiveCaptureComponents,
    points: readonly CapturePoint[],
    snapLength: number,
  ): Promise<LiveCapture> {
    const capture = new LiveCapture();
    try {
      for (const point of points) {
        const { device, namespace, filter } = point;
        const socket = await openSocket({ device, namespace, filter, snapLength });
        capture.#sockets.push({ point, socket });
      }
    } catch (error) {
      capture.stop();
      throw error;
    }
    for (const { point, socket } of capture.#sockets)
      socket.watch(
        (received) => {
          const linkType = linkTypeOf(received);
          if (linkType !== undefined) onFrame(frameOf(point.device, linkType, received));
        },
        (state) => onOutage(point.device, state),
      );
    return capture;
  }

  /** Frames that the kernel had no room for, by device; those without are left out. */
  dropped(): ReadonlyMap<string, number> {
    const counts = this.#sockets.map(({ point, socket }) => [point.device, socket.dropped()] as const);
    return new Map(counts.filter(([, count]) => count > 0));
  }

  stop(): void {
    for (const { socket } of this.#sockets) socket.close();
  }
}

const frameOf = (device: string, linkType: LinkType, received: ReceivedFrame): Frame => {
  const { at, direction, bytes, originalLength, checksumPending } = received;
  return { at, device, linkType, direction, bytes, originalLength, checksumPending };
};

/** ARPHRD_* of linux/if_arp.h. */
const [ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NONE] = [1, 772, 65_534];

/** `undefined` where frames begin with a header that is not known here. */
function linkTypeOf({ hardware }: ReceivedFrame): LinkType | undefined {
  if (hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK) return LINK_TYPES.ethernet;
  return hardware === ARPHRD_NONE ? LINK_TYPES.raw : undefined;
}
