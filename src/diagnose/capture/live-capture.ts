import { type Frame, LINK_TYPES, type LinkType } from '#src/diagnose/capture/frame.ts';
import type { BpfInstructions } from '#src/sys/bpf-program.ts';
import { nextTurn, TURNS_TO_READ } from '#src/sys/next-turn.ts';
import type { ReceivedFrame } from '#src/sys/packet-message.ts';
import type { PacketSocket, PacketSocketOptions } from '#src/sys/packet-socket.ts';

/** A device to capture on. */
export interface CapturePoint {
  /** Absent: every device. */
  readonly device?: string;
  /** Its network namespace, as a path; absent for the process's own. */
  readonly namespace?: string;
  /** The network, where frames pass without a tunnel. */
  readonly vni?: number | undefined;
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

/** On a busy device there is always one more. */
const MOST_TURNS = 1_000;

/** Frames of some devices as they pass, those of several devices in the order of their times. */
export class LiveCapture {
  readonly #onFrame: (frame: Frame) => void;
  #waiting: Frame[] = [];
  #taken = 0;
  readonly #sockets: { readonly point: CapturePoint; readonly socket: PacketSocket }[] = [];

  /** Throws a WeftError `packet-socket` or `netns`, and nothing is open then. */
  static async start(
    { openSocket, onFrame, onOutage }: LiveCaptureComponents,
    points: readonly CapturePoint[],
    snapLength: number,
  ): Promise<LiveCapture> {
    const capture = new LiveCapture(onFrame);
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
    for (const { point, socket } of capture.#sockets) {
      const names = new Map<number, string>();
      const nameOf = (index: number): string => {
        const name = point.device ?? names.get(index) ?? socket.nameOf(index) ?? `device ${index}`;
        names.set(index, name);
        return name;
      };
      socket.watch(
        (received) => {
          capture.#taken++;
          const linkType = linkTypeOf(received);
          if (linkType === undefined) return;
          const frame = frameOf(nameOf(received.deviceIndex), linkType, received, point.vni);
          if (points.length === 1) onFrame(frame);
          else capture.#hold({ ...frame, bytes: frame.bytes.slice() });
        },
        (state) => onOutage(point.device ?? 'a device', state),
      );
    }
    return capture;
  }

  private constructor(onFrame: (frame: Frame) => void) {
    this.#onFrame = onFrame;
  }

  #hold(frame: Frame): void {
    this.#waiting.push(frame);
    if (this.#waiting.length === 1) void this.#releaseInTurn();
  }

  /**
   * The sockets are read one after the other: a frame that came to one of them when it had just been read is behind those of the
   * others. After two turns each socket was read once more, and nothing older than what waited then can follow.
   */
  async #releaseInTurn(): Promise<void> {
    while (this.#waiting.length > 0) {
      const horizon = this.#waiting.reduce((latest, { at = 0n }) => (at > latest ? at : latest), 0n);
      await nextTurn();
      await nextTurn();
      this.#release(horizon);
    }
  }

  /** Those up to a time, in order; all without one. */
  #release(horizon?: bigint): void {
    const isDue = ({ at = 0n }: Frame): boolean => horizon === undefined || at <= horizon;
    const frames = this.#waiting.filter(isDue).sort((a, b) => Number((a.at ?? 0n) - (b.at ?? 0n)));
    this.#waiting = this.#waiting.filter((frame) => !isDue(frame));
    for (const frame of frames) this.#onFrame(frame);
  }

  /** Frames that the kernel had no room for. */
  dropped(): number {
    return this.#sockets.reduce((sum, { socket }) => sum + socket.dropped(), 0);
  }

  /** Hands on what the kernel has kept so far: this process may not have run since it came. */
  async takeRest(): Promise<void> {
    let quiet = 0;
    for (let turn = 0; turn < MOST_TURNS && quiet < TURNS_TO_READ; turn++) {
      const before = this.#taken;
      await nextTurn();
      quiet = this.#taken === before ? quiet + 1 : 0;
    }
  }

  stop(): void {
    for (const { socket } of this.#sockets) socket.close();
    this.#release();
  }
}

const frameOf = (
  device: string,
  linkType: LinkType,
  received: ReceivedFrame,
  vni: number | undefined,
): Frame => {
  const { at, direction, bytes, originalLength, checksumPending } = received;
  const common = { at, device, linkType, direction, bytes, originalLength, checksumPending };
  return vni === undefined ? common : { ...common, vni };
};

/** ARPHRD_* of linux/if_arp.h. */
const [ARPHRD_ETHER, ARPHRD_LOOPBACK, ARPHRD_NONE] = [1, 772, 65_534];

/** `undefined` where frames begin with a header that is not known here. */
function linkTypeOf({ hardware }: ReceivedFrame): LinkType | undefined {
  if (hardware === ARPHRD_ETHER || hardware === ARPHRD_LOOPBACK) return LINK_TYPES.ethernet;
  return hardware === ARPHRD_NONE ? LINK_TYPES.raw : undefined;
}
