import { type ContainerEnds, endOperations } from '#src/driver/container-ends.ts';
import type { EndKeeperComponents } from '#src/driver/end-keeper.ts';
import type { Prefix } from '#src/lib/ip.ts';
import type { Operation } from '#src/state/operation.ts';

/** What is done to a device in a container. */
export interface ForeseenEnd {
  /** The path of the container's network namespace. */
  readonly sandbox: string;
  readonly operations: readonly Operation[];
}

interface Asked {
  readonly sandbox: string;
  readonly device: string;
  readonly prefixes: readonly Prefix[];
}

type Looks = 'isThere' | 'nameOf' | 'namesIn';
type Judges = 'needsMending' | 'forbidsIpv6';

/** The devices of containers, which are looked at and left alone. */
export class ForeseenEnds implements Pick<EndKeeperComponents['ends'], Looks | 'mend'> {
  readonly #ends: Pick<ContainerEnds, Looks | Judges>;
  readonly #asked: Asked[] = [];

  constructor(ends: Pick<ContainerEnds, Looks | Judges>) {
    this.#ends = ends;
  }

  isThere(sandbox: string): boolean {
    return this.#ends.isThere(sandbox);
  }

  nameOf(end: Parameters<ContainerEnds['nameOf']>[0]): Promise<string | undefined> {
    return this.#ends.nameOf(end);
  }

  namesIn(sandbox: string): Promise<string[]> {
    return this.#ends.namesIn(sandbox);
  }

  async mend(sandbox: string, device: string, prefixes: readonly Prefix[]): Promise<boolean> {
    this.#asked.push({ sandbox, device, prefixes });
    return false;
  }

  /** `ports`: what is done in the tenants' namespace. A port that is made brings a bare device into its container. */
  async plan(ports: readonly Operation[]): Promise<ForeseenEnd[]> {
    const made = new Set(
      ports.flatMap(({ verb, object }) =>
        verb !== 'remove' && verb !== 'set' && object.kind === 'link' && object.veth !== undefined
          ? [`${object.veth.peerNamespace} ${object.veth.peer}`]
          : [],
      ),
    );
    const plans: ForeseenEnd[] = [];
    for (const { sandbox, device, prefixes } of this.#asked) {
      const isMade = made.has(`${sandbox} ${device}`);
      if (!isMade && !(await this.#ends.needsMending(sandbox, device))) continue;
      const hasIpv6 = prefixes.some(({ family }) => family === 6);
      const isForbidden = hasIpv6 && (await this.#ends.forbidsIpv6(sandbox, isMade ? 'default' : device));
      plans.push({
        sandbox,
        operations: [...(isForbidden ? [allowIpv6(device)] : []), ...endOperations(device, prefixes)],
      });
    }
    return plans;
  }
}

const allowIpv6 = (device: string): Operation => ({
  verb: 'replace',
  object: { kind: 'sysctl', path: `net/ipv6/conf/${device}/disable_ipv6`, value: '0' },
});
