import {
  clsactRequest,
  type Direction,
  filterDump,
  filterRemoval,
  filterRequest,
  qdiscDump,
  readClsact,
  readFilter,
  type TcFilter,
} from '#src/kernel/bpf/tc-filters.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import type { Request } from '#src/kernel/message.ts';
import type { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import type { FoundHook, HookForm, HookPlace } from '#src/reconcile/fast-path/hook-form.ts';
import { PROGRAMS } from '#src/reconcile/fast-path/load-programs.ts';
import { HOOK_DIRECTION } from '#src/state/kinds/fast-hook.ts';
import type { Clock } from '#src/sys/clock.ts';
import { TurnBudget } from '#src/sys/turn-budget.ts';

/** After the filters of others: theirs have the first word. */
export const FILTER_PRIORITY = 0xff00;
/** In the name of each filter: `weft/flannel.1/from-wire`. A device's name has no slashes. */
const OURS = 'weft/';

/** Filters of the clsact qdisc (Linux 4.5): they stay by themselves. The qdisc is made where there is none, and left there: others may use it. */
export class ClsactHooks implements HookForm {
  readonly name = 'clsact';
  readonly #client: RtnetlinkClient;
  readonly #clock: Clock;

  /** Nothing else may use the client meanwhile. */
  constructor(client: RtnetlinkClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Devices that have the qdisc, by ifindex: filters cost them nothing. */
  async devices(): Promise<Set<number>> {
    const devices = new Set<number>();
    await this.#dump(qdiscDump(), new TurnBudget(this.#clock), (message) => {
      const ifindex = readClsact(message);
      if (ifindex !== undefined) devices.add(ifindex);
    });
    return devices;
  }

  async list(names: DeviceNames): Promise<FoundHook[]> {
    const budget = new TurnBudget(this.#clock);
    const filters: TcFilter[] = [];
    for (const ifindex of await this.devices())
      for (const direction of ['ingress', 'egress'] as const)
        filters.push(...(await this.#filters(ifindex, direction, budget)));
    return filters.flatMap((filter) => {
      const [, set = '', word] = filter.name.split('/');
      const [program] = PROGRAMS.find(([name]) => name === word) ?? [];
      const device = names.nameOf(filter.ifindex);
      if (program === undefined || device === undefined) return [];
      return [{ set, program, device, ifindex: filter.ifindex, programId: filter.programId }];
    });
  }

  /**
   * Makes the qdisc, for filters to come. The kernel (qdisc_graft) deactivates a device that is up meanwhile, and drops what goes
   * out by it for some milliseconds: there is nothing to drop before the container runs.
   */
  prepare(ifindex: number): void {
    this.#ask(clsactRequest(ifindex), ['EEXIST', 'ENODEV']);
  }

  async attach(place: HookPlace, program: number): Promise<void> {
    const { ifindex } = place;
    const [present] = await this.#at(place);
    if (present === undefined) this.#ask(clsactRequest(ifindex), ['EEXIST']);
    const direction = HOOK_DIRECTION[place.program];
    const fresh = { ifindex, direction, priority: FILTER_PRIORITY, handle: 0, name: nameOf(place) };
    this.#ask(filterRequest(present ?? fresh, program), []);
  }

  async detach(place: HookPlace): Promise<void> {
    for (const filter of await this.#at(place)) this.#ask(filterRemoval(filter), ['ENOENT', 'ENODEV']);
  }

  async #at(place: HookPlace): Promise<TcFilter[]> {
    const budget = new TurnBudget(this.#clock);
    const filters = await this.#filters(place.ifindex, HOOK_DIRECTION[place.program], budget);
    return filters.filter(({ name }) => name === nameOf(place));
  }

  async #filters(ifindex: number, direction: Direction, budget: TurnBudget): Promise<TcFilter[]> {
    const filters: TcFilter[] = [];
    await this.#dump(filterDump(ifindex, direction), budget, (message) => {
      const filter = readFilter(message);
      if (filter?.name.startsWith(OURS)) filters.push({ ...filter, ifindex, direction });
    });
    return filters;
  }

  /** A device without the qdisc has no filters. */
  async #dump(
    request: Request,
    budget: TurnBudget,
    visit: Parameters<RtnetlinkClient['dump']>[3],
  ): Promise<void> {
    await this.#client.dump(request, budget, () => {}, visit);
  }

  #ask(request: Request, harmless: readonly string[]): void {
    const [error] = this.#client.send(this.#client.prepare([request]));
    if (error !== undefined && !harmless.includes(error.errno))
      throw Object.assign(new Error(error.message), { code: error.errno });
  }
}

const nameOf = ({ set, program }: HookPlace): string => `${OURS}${set}/${program}`;
