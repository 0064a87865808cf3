import { WeftError } from '#src/lib/errors.ts';
import { formatPrefix, overlaps, type Prefix4, type Prefix6 } from '#src/lib/ip.ts';
import { type PerFamily, valuesOf } from '#src/lib/per-family.ts';

/** What a network takes of its host, which no other network can have. */
export interface NetworkClaim {
  /** How messages name the network. */
  readonly title: string;
  readonly networks: PerFamily<Prefix4, Prefix6>;
  readonly devices: readonly string[];
}

/** What the networks of one daemon take of their host. Two that want the same are refused here, before the kernel is touched. */
export class NetworkClaims {
  readonly #claims = new Map<string, NetworkClaim>();

  /** Takes what the claim names, in place of what `owner` took before. Throws as {@link check} does. */
  take(owner: string, claim: NetworkClaim): void {
    this.check(owner, claim);
    this.#claims.set(owner, claim);
  }

  /** Throws WeftError `network-clash`, which names both networks, when another owner has any of it. */
  check(owner: string, claim: NetworkClaim): void {
    for (const [other, taken] of this.#claims) {
      if (other === owner) continue;
      const device = claim.devices.find((name) => taken.devices.includes(name));
      if (device !== undefined) {
        throw new WeftError(
          'network-clash',
          `${claim.title} can not start: its device would be ${device}, which is that of ${taken.title}`,
          {
            remedy: 'change the Backend of one of them in its network config, so that it has another device',
          },
        );
      }
      for (const network of valuesOf(claim.networks)) {
        const of = valuesOf(taken.networks).find((candidate) => overlaps(network, candidate));
        if (of === undefined) continue;
        const field = network.family === 4 ? 'Network' : 'IPv6Network';
        throw new WeftError(
          'network-clash',
          `${claim.title} can not start: its ${field} ${formatPrefix(network)} overlaps ${formatPrefix(of)} of ${taken.title}`,
          { remedy: `give one of them another ${field} in its network config` },
        );
      }
    }
  }

  release(owner: string): void {
    this.#claims.delete(owner);
  }
}
