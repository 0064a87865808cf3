import assert from 'node:assert/strict';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import type { Host } from '#src/lab/host.ts';
import type { TrafficReport } from '#src/lab/traffic.ts';
import { formatObject, type KernelObject } from '#src/state/object.ts';
import { commandOf, type Operation } from '#src/state/operation.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { until } from '#src/sys/until.ts';
import { pause, TIMES } from '../faults/suite.ts';
import { reportFault } from './fault-report.ts';

/** Between two of a kind, so that a repair is not taken for a fight with another program. */
export const PAUSE_MS = 120;

/** Runs something under traffic. */
export type UnderTraffic = (act: () => Promise<void>) => Promise<Pick<TrafficReport, 'lost'>>;

/** What others do to one device of a host, seen with our own netlink code: it is fast enough to time a repair. */
export class Drift {
  readonly #host: () => Host;
  readonly #device: string;
  readonly #isMade: (object: KernelObject) => boolean;
  #opened: RtnetlinkKernel | undefined;

  /** `isMade`: what flanneld makes there. Default: all. */
  constructor(host: () => Host, device: string, isMade: (object: KernelObject) => boolean = () => true) {
    this.#host = host;
    this.#device = device;
    this.#isMade = isMade;
  }

  close(): void {
    this.#opened?.close();
  }

  get #kernel(): RtnetlinkKernel {
    this.#opened ??= new RtnetlinkKernel(
      { netlink: systemNetlink },
      { namespace: `/run/netns/${this.#host().namespace}` },
    );
    return this.#opened;
  }

  /** The device, and everything on it. */
  async #state(): Promise<readonly KernelObject[]> {
    const device = this.#device;
    const link = (await this.#kernel.links()).filter(({ name }) => name === device);
    const on = await this.#kernel.dump({ kinds: ['address', 'route', 'neighbour', 'fdb'], device });
    return [...link, ...on.filter(this.#isMade)];
  }

  async apply(operation: Operation): Promise<void> {
    const [result] = await this.#kernel.apply([operation]);
    assert.ok(result?.done, `${commandOf(operation)}: ${result?.done === false ? result.error.message : ''}`);
  }

  /** Does it `TIMES` times under traffic; each time waits until the device is as before. */
  async measure(
    fault: string,
    act: (state: readonly KernelObject[]) => Promise<void>,
    underTraffic: UnderTraffic,
  ): Promise<void> {
    const before = await this.#state();
    const wanted = textOf(before);
    const repairedMs: number[] = [];
    const { lost } = await underTraffic(async () => {
      for (let time = 0; time < TIMES; time++) {
        const began = performance.now();
        await act(before);
        await until(async () => textOf(await this.#state()) === wanted, {
          what: `the repair of ${fault}`,
          timeoutMs: 10_000,
          intervalMs: 0,
        });
        repairedMs.push(performance.now() - began);
        await pause(PAUSE_MS);
      }
    });
    reportFault({ fault, repairedMs, lost });
  }
}

const textOf = (objects: readonly KernelObject[]): string =>
  objects
    .map(
      (object) => `${object.kind} ${formatObject(object)}${object.kind === 'link' ? ` up=${object.up}` : ''}`,
    )
    .sort()
    .join('\n');

/** The first of a kind that there is. */
export const firstOf = (objects: readonly KernelObject[], kind: KernelObject['kind']): KernelObject =>
  objects.find((object) => object.kind === kind && (object.kind !== 'route' || object.onlink)) ??
  assert.fail(`there is no ${kind}`);
