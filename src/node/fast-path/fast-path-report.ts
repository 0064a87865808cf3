import type { FastWay } from '#src/backend/fast-way.ts';
import type { FastCounts } from '#src/fast-path/map-layouts.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FastPathJudge } from '#src/node/fast-path/fast-path-judge.ts';
import type { FollowedContainers } from '#src/node/fast-path/followed-containers.ts';
import type { Pauses } from '#src/node/fast-path/pauses.ts';
import type { WantedFastPath } from '#src/node/fast-path/wanted-fast-path.ts';
import type { FastPathStatus } from '#src/observe/node-status.ts';
import type { Owner } from '#src/reconcile/owner.ts';

/** `untouched`: nothing is known yet, and what an earlier daemon left stays. `paused`: it is made, and no flow goes fast. */
export type FastPathMode = 'off' | 'untouched' | 'paused' | 'fast';

export interface FastPathReportComponents {
  readonly owner: Pick<Owner, 'status'>;
  readonly judge: Pick<FastPathJudge, 'reasons'>;
  readonly pauses: Pick<Pauses, 'reasons' | 'isAny'>;
  readonly wanted: Pick<WantedFastPath, 'slow' | 'peerCount'>;
  readonly containers: Pick<FollowedContainers, 'admitted' | 'queues'>;
  /** What the programs on a VXLAN device's way have counted; `undefined` where there are none. */
  readonly counts: (device: string) => FastCounts | undefined;
  readonly log: Logger;
}

/** How far a fast path is that somebody has asked for. */
export interface FastPathProgress {
  readonly mode: FastPathMode;
  /** Absent where there is none; the reason where the backend has none now. */
  readonly way: FastWay | string | undefined;
  /** The device that packets are counted on; `undefined` while there are no programs. */
  readonly countedOn: string | undefined;
  readonly tcp: boolean;
}

/** Says what a fast path does, and why it does not do more. */
export class FastPathReport {
  readonly #components: FastPathReportComponents;
  #said = '';

  constructor(components: FastPathReportComponents) {
    this.#components = components;
  }

  status(progress: FastPathProgress): FastPathStatus {
    const { wanted, containers, counts } = this.#components;
    const { mode, countedOn, tcp } = progress;
    const reasons = this.#reasons(progress);
    const packets = countedOn === undefined ? undefined : counts(countedOn);
    const slow = Array.from(wanted.slow, ([lease, reason]) => ({ lease, reason }));
    const isMade = mode === 'paused' || mode === 'fast';
    return {
      state: this.#stateWord(progress, reasons),
      reasons,
      containers: isMade ? containers.admitted.size : 0,
      peers: wanted.peerCount - slow.length,
      slowPeers: slow,
      queues: containers.queues,
      tcp,
      ...(packets !== undefined && { packets }),
    };
  }

  #stateWord({ mode, countedOn }: FastPathProgress, reasons: readonly string[]): FastPathStatus['state'] {
    if (reasons.length > 0) return this.#components.pauses.isAny && mode === 'paused' ? 'paused' : 'refused';
    return mode === 'fast' && countedOn !== undefined ? 'on' : 'starting';
  }

  #reasons({ way }: FastPathProgress): string[] {
    if (typeof way === 'string') return [way];
    const { owner, pauses, judge } = this.#components;
    const failure = owner.status.failing.find(({ key }) => !key.startsWith('sysctl '));
    return [
      ...pauses.reasons,
      ...(judge.reasons ?? []),
      ...(failure === undefined ? [] : [`the kernel refuses ${failure.key}: ${failure.reason}`]),
    ];
  }

  /** Logs each state once; `undefined`: nobody asks for it any more. */
  say(status: FastPathStatus | undefined): void {
    const text =
      status === undefined
        ? 'The fast path is off'
        : status.state === 'on'
          ? `The fast path is on${status.tcp ? '' : ', but not for TCP: nf_conntrack_tcp_be_liberal can’t be set'}`
          : `The fast path is ${status.state}: ${status.reasons.join('; ')}`;
    if (text === this.#said) return;
    this.#said = text;
    this.#components.log.info(text);
  }
}
