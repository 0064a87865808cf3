import type {
  Backend,
  BackendUnderlay,
  FoundState,
  PreparedBackend,
  Published,
  Requirement,
} from '#src/backend/backend.ts';
import { ChangingBackend, firstStep } from '#src/backend/changing.ts';
import { otherSide, PathSides, type Side, sideOfLeases } from '#src/backend/path-sides.ts';
import { WeftError } from '#src/lib/errors.ts';
import { readChangeMember } from '#src/network/change-member.ts';
import type { ChangePlan } from '#src/network/change-plan.ts';

/** Both backends of a network that changes from one to another, on this host: see {@link ChangingBackend}. */
export class PreparedChange implements PreparedBackend {
  readonly plan: ChangePlan;
  readonly type: string;
  readonly instance: string;
  readonly devices: readonly string[];
  readonly settings: PreparedBackend['settings'];
  readonly inPlace: readonly string[];
  readonly requirements: readonly Requirement[];
  /** `own`: the one that the network config names as its `Backend`. */
  readonly own: PreparedBackend;
  readonly other: PreparedBackend;

  /** Throws WeftError `change` where the two can't be on one host. */
  constructor(plan: ChangePlan, own: PreparedBackend, other: PreparedBackend) {
    refuseSameDevice(own, other);
    this.plan = plan;
    this.own = own;
    this.other = other;
    this.type = own.type;
    this.instance = own.instance;
    this.devices = [...new Set([...own.devices, ...other.devices])];
    this.settings = own.settings;
    this.inPlace = own.inPlace;
    const requirements = [...own.requirements, ...other.requirements];
    this.requirements = [...new Map(requirements.map((one) => [one.module, one])).values()];
  }

  check(underlay: BackendUnderlay, found: Pick<FoundState, 'links'>): readonly string[] {
    return [...new Set([...this.own.check(underlay, found), ...this.other.check(underlay, found)])];
  }

  /** `taken`: each path keeps what the lease says of it. A lease that announces both goes on announcing both. */
  make(underlay: BackendUnderlay, taken: Partial<Published> = {}): ChangingBackend {
    const { plan } = this;
    const lease = { backendType: '', ...taken };
    const views = new PathSides(
      plan,
      this.#sides((prepared) => prepared.make(underlay)),
    );
    const isTaken = taken.backendType !== undefined;
    const sides = this.#sides((prepared, side) =>
      prepared.make(underlay, (isTaken ? views.viewOf(lease, side) : undefined) ?? {}),
    );
    const found = readChangeMember(taken);
    const member = found?.id === plan.id ? found : undefined;
    const step = firstStep(plan, {
      isAnnounced: member?.other !== undefined,
      ...(member?.reversePath !== undefined && { reversePathBefore: member.reversePath }),
    });
    return new ChangingBackend(plan, sides, step);
  }

  #sides(make: (prepared: PreparedBackend, side: Side) => Backend): Record<Side, Backend> {
    const own = sideOfLeases(this.plan);
    const side = { [own]: this.own, [otherSide(own)]: this.other } as Record<Side, PreparedBackend>;
    return { from: make(side.from, 'from'), to: make(side.to, 'to') };
  }
}

/** Whether two backends of one type differ in the routes that they choose, and in nothing else: they share their devices. */
export function differsInRoutes(own: Optioned, other: Optioned): boolean {
  const names = Object.keys({ ...own.settings, ...other.settings });
  const differing = names.filter((name) => own.settings[name] !== other.settings[name]);
  const isOfRoutes = differing.length > 0 && differing.every((name) => own.routeOptions?.includes(name));
  return own.type === other.type && isOfRoutes;
}

type Optioned = Pick<PreparedBackend, 'type' | 'settings' | 'routeOptions'>;

/** Throws WeftError `change` where two backends would have one device, and want different things of it. */
export function refuseSameDevice(
  own: Optioned & Pick<PreparedBackend, 'devices'>,
  other: Optioned & Pick<PreparedBackend, 'devices'>,
): void {
  if (differsInRoutes(own, other)) return;
  const device = own.devices.find((name) => other.devices.includes(name));
  if (device === undefined) return;
  throw new WeftError(
    'change',
    `the new path can not be brought up beside the old one: both would be the device ${device}`,
    {
      remedy:
        'choose another VNI or port as well, which gives the new one a device of its own: --vni, --port',
    },
  );
}
