import type { OwnEnds } from '#src/backend/probe-ends.ts';
import { SILENT_AFTER } from '#src/diagnose/probes/judge.ts';
import type { MeasuredPeer } from '#src/diagnose/probes/measured-peer.ts';
import type { Dialer, DialTarget } from '#src/sys/dialer.ts';

/** A SYN that got lost is sent again after a second. */
const TIMEOUT_MS = 1_500;
/** Connections that are tried at one time. */
const MOST_AT_ONCE = 16;
/** A silence that lasts is looked into again with every so manieth connection. */
const LOOK_AGAIN = 8;

/** Packets of one connection here: SYN, ACK, RST; and of the two datagrams with their answers. */
export const TCP_PACKETS = 3;
export const UDP_PACKETS = 4;

/** Tries a peer's TCP port, and where it is silent finds out what else is. */
export class TcpCheck {
  readonly #dialer: Dialer;
  readonly #port: number;
  #running = 0;

  constructor(dialer: Dialer, port: number) {
    this.#dialer = dialer;
    this.#port = port;
  }

  /** Resolves when the peer's record says what came of it; what follows from it is returned. */
  async connect(peer: MeasuredPeer, own: OwnEnds): Promise<'tcp' | 'udp' | undefined> {
    if (peer.isDialing || this.#running >= MOST_AT_ONCE) return undefined;
    // A responder that is known already need not say so again.
    const ask = !peer.responder || peer.tcp !== 'answered';
    const target = this.#targetOf(peer, own);
    const { outcome, answer } = await this.#one(peer, () =>
      this.#dialer.connect(target, ask ? HELLO : undefined),
    );
    if (outcome === 'failed') return undefined;
    peer.tcp = outcome;
    if (outcome !== 'silent') {
      peer.tcpSilences = 0;
      peer.udp = undefined;
      if (ask || outcome === 'refused') peer.responder = isHello(answer);
      return undefined;
    }
    peer.tcpSilences++;
    if (peer.tcpSilences < SILENT_AFTER) return 'tcp';
    return peer.tcpSilences % LOOK_AGAIN === SILENT_AFTER ? 'udp' : undefined;
  }

  /** A card that computes wrong checksums does so for UDP, too, unless there is none to compute. */
  async compare(peer: MeasuredPeer, own: OwnEnds): Promise<void> {
    if (peer.isDialing || this.#running >= MOST_AT_ONCE) return;
    const target = this.#targetOf(peer, own);
    await this.#one(peer, async () => {
      const withoutChecksum = await this.#isHeard(target, false);
      const withChecksum = withoutChecksum && (await this.#isHeard(target, true));
      if (peer.tcp === 'silent') peer.udp = { withChecksum, withoutChecksum };
    });
  }

  /** Any answer will do: a host without a responder says that the port is closed. Each is tried twice. */
  async #isHeard(target: DialTarget, checksum: boolean): Promise<boolean> {
    for (let attempt = 0; attempt < 2; attempt++) {
      const outcome = await this.#dialer.datagram(target, { checksum });
      if (outcome === 'answered' || outcome === 'refused') return true;
    }
    return false;
  }

  async #one<T>(peer: MeasuredPeer, work: () => Promise<T>): Promise<T> {
    peer.isDialing = true;
    this.#running++;
    try {
      return await work();
    } finally {
      peer.isDialing = false;
      this.#running--;
    }
  }

  #targetOf({ ends }: MeasuredPeer, own: OwnEnds): DialTarget {
    return { from: own.responder, to: ends.responder, port: this.#port, timeoutMs: TIMEOUT_MS };
  }
}

const HELLO = 'GET /v1/hello HTTP/1.1\r\nHost: weft\r\nConnection: close\r\n\r\n';

/** Whether that is what weft's responder says. */
const isHello = (answer = ''): boolean => answer.startsWith('HTTP/1.1 200') && answer.includes('"version"');
