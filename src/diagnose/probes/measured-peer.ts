import type { PeerEnds } from '#src/backend/probe-ends.ts';
import type { Judgement } from '#src/diagnose/probes/judge.ts';
import type { MtuSearch } from '#src/diagnose/probes/mtu-search.ts';
import { Way } from '#src/diagnose/probes/way.ts';
import type { FamilyProbe } from '#src/observe/api.ts';
import type { DialOutcome } from '#src/sys/dialer.ts';

/** Whether UDP gets an answer where TCP gets none: with a checksum, and without one, which no card computes. */
export interface UdpCheck {
  readonly withChecksum: boolean;
  readonly withoutChecksum: boolean;
}

/** What is known of one peer from measuring it. */
export class MeasuredPeer {
  /** The lease's name. */
  readonly name: string;
  readonly ends: PeerEnds;
  readonly inside = new Way();
  readonly outside = new Way();
  /** How often it was looked at. */
  looks = 0;
  /** When it was last looked at: monotonic milliseconds, and milliseconds since the epoch. */
  lookedAt = Number.NEGATIVE_INFINITY;
  at = 0;
  tcp: Exclude<DialOutcome, 'failed'> | 'not tried' = 'not tried';
  /** Connections in a row that got no answer. */
  tcpSilences = 0;
  udp: UdpCheck | undefined;
  isDialing = false;
  /** Another address than the one inside answers for it. The kernel takes no connection to such a one. */
  answersElsewhere = false;
  responder = false;
  /** Bytes, inside; `undefined` while it is not known. */
  workingMtu: number | undefined;
  search: MtuSearch | undefined;
  /** What was last reported of it. */
  reported: Judgement | undefined;
  /** The place in the queue is taken by another, or by none: the peer has gone. */
  isGone = false;

  constructor(name: string, ends: PeerEnds) {
    this.name = name;
    this.ends = ends;
  }

  /** After an outage everything is measured as if for the first time. */
  forget(): void {
    this.inside.forget();
    this.outside.forget();
    this.tcp = 'not tried';
    this.tcpSilences = 0;
    this.udp = undefined;
    this.workingMtu = undefined;
    this.search = undefined;
    this.looks = 1;
  }

  /** Absent before the first packet was answered or lost. */
  get view(): FamilyProbe | undefined {
    const { reported, workingMtu } = this;
    if (reported === undefined) return undefined;
    const { state, findings } = reported;
    return {
      at: new Date(this.at).toISOString(),
      state,
      findings,
      tunnel: this.inside.view,
      underlay: this.outside.view,
      tcp: this.tcp,
      ...(workingMtu !== undefined && { workingMtu }),
      responder: this.responder,
    };
  }
}
