import type { Kernel, KernelEvent } from '#src/kernel/kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { Ipv4, Prefix4 } from '#src/lib/ip.ts';
import type { Logger } from '#src/lib/log.ts';
import { Admission } from '#src/node/fast-path/admission.ts';
import { Allowance } from '#src/node/fast-path/allowance.ts';
import { LOCAL_KINDS, type LocalContainer, LocalContainers } from '#src/node/fast-path/local-containers.ts';
import type { Clock } from '#src/sys/clock.ts';

/** Containers that come and go all the time must not keep it reading. */
const REREAD_MS = 100;
/** Devices that are made ready before anything is known of them: most of those that come and go all the time are not. */
const EARLY = { atOnce: 20, aSecond: 10 };

export interface FollowedComponents {
  readonly kernel: Pick<Kernel, 'dump'>;
  readonly clock: Clock;
  readonly log: Logger;
}

export interface FollowedNews {
  /** A container's address is another one's now, or nobody's: its objects have to go. */
  readonly withdrawn: (ip: Ipv4) => void;
  /** A device has come that will be a container's: there is time before its first packet. */
  readonly came: (ifindex: number) => void;
  /** Somebody waits to be admitted. */
  readonly waiting: () => void;
  /** All of them were read: bridges may have come or gone. */
  readonly replaced: () => void;
}

/** The containers of one subnet, followed by the kernel's events, and admitted to the fast path in their turn. */
export class FollowedContainers {
  readonly #components: FollowedComponents;
  readonly #news: FollowedNews;
  readonly #early = new Allowance(EARLY);
  #admission = new Admission();
  #locals: LocalContainers | undefined;
  #isReading = false;
  /** Something changed while all of them were read: what was read may be older. */
  #isStale = false;

  constructor(components: FollowedComponents, news: FollowedNews) {
    this.#components = components;
    this.#news = news;
  }

  get admitted(): ReadonlyMap<Ipv4, LocalContainer> {
    return this.#admission.admitted;
  }

  /** The bridges of the containers. */
  get bridges(): readonly string[] {
    return [...(this.#locals?.bridges ?? [])];
  }

  /** Devices that stay slow, because packets wait in a queue there. */
  get queues(): { readonly device: string; readonly queue: string }[] {
    return Array.from(this.#locals?.queued ?? [], ([device, queue]) => ({ device, queue }));
  }

  /** Those that are admitted now. */
  due(): LocalContainer[] {
    return this.#admission.due(this.#components.clock.monotonic());
  }

  /** Milliseconds until {@link due} has something to say; `undefined` while nobody waits. */
  waitMs(): number | undefined {
    return this.#admission.waitMs(this.#components.clock.monotonic());
  }

  /** The host has another subnet: nothing that is known holds. */
  forget(): void {
    this.#locals = undefined;
    for (const ip of this.#admission.admitted.keys()) this.#news.withdrawn(ip);
    this.#admission = new Admission();
  }

  /**
   * Reads what there is, once for each subnet. Those that are there are admitted: one start takes all of them. Whether there was
   * something to read.
   */
  async begin(subnet: Prefix4): Promise<boolean> {
    if (this.#locals !== undefined) return false;
    let isFirst = true;
    this.#locals = new LocalContainers(subnet, {
      changed: (ip, local) => {
        if (isFirst && local !== undefined) this.#admission.admit(local);
        else this.#change(ip, local);
      },
      came: (ifindex) => {
        if (this.#early.take(this.#components.clock.monotonic())) this.#news.came(ifindex);
      },
    });
    await this.#read().finally(() => {
      isFirst = false;
    });
    return true;
  }

  take(event: KernelEvent): void {
    this.#isStale ||= this.#isReading;
    if (this.#locals?.take(event) !== 'again' || this.#isReading) return;
    const { log } = this.#components;
    this.#read().then(this.#news.replaced, (error) =>
      log.warning(`Could not look for containers: ${messageOf(error)}`),
    );
  }

  async #read(): Promise<void> {
    const { kernel, clock } = this.#components;
    this.#isReading = true;
    try {
      for (;;) {
        this.#isStale = false;
        this.#locals?.replace(await kernel.dump({ kinds: LOCAL_KINDS }));
        if (!this.#isStale) return;
        await clock.sleep(REREAD_MS);
      }
    } finally {
      this.#isReading = false;
    }
  }

  #change(ip: Ipv4, local: LocalContainer | undefined): void {
    const wasAdmitted = this.#admission.change(ip, local, this.#components.clock.monotonic());
    if (wasAdmitted) this.#news.withdrawn(ip);
    this.#news.waiting();
  }
}
