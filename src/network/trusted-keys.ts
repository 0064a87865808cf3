import { WeftError } from '#src/lib/errors.ts';
import {
  containsPrefix,
  formatPrefix,
  hasHostBits,
  masked,
  type Prefix,
  parsePrefix,
  prefixOf,
} from '#src/lib/ip.ts';
import type { Subnets } from '#src/network/lease.ts';
import { isKeyText } from '#src/sys/ed25519.ts';

/** A line of the file. */
interface TrustLine {
  readonly key: string;
  /** A subnet, or a range of several; `undefined` for any subnet that no line names for others. */
  readonly prefix: Prefix | undefined;
}

/**
 * The keys that may hold leases, and which, from the file of `--trust-file`: on each line a key and a subnet, a range of
 * subnets, or the word `any`. Of a host with both families there are two lines.
 *
 *     # web1
 *     5yS1Gx3k…  10.0.65.0/24
 *     5yS1Gx3k…  fd00:0:0:41::/64
 *     # hosts that take the subnet they get
 *     Jv0c1dQe…  any
 *
 * A subnet that a line names is for the keys of its lines alone.
 */
export class TrustedKeys {
  readonly #any = new Set<string>();
  /** Keys by the text of a prefix. */
  readonly #keys = new Map<string, Set<string>>();
  /** The prefixes of each length, of each family, the widest first. */
  readonly #byLength = new Map<string, Prefix[]>();

  constructor(lines: readonly TrustLine[]) {
    for (const { key, prefix } of lines) {
      if (prefix === undefined) this.#any.add(key);
      else this.#add(key, prefix);
    }
  }

  /** Whether the key may hold the subnets of a lease. */
  allows(key: string, { v4, v6 }: Subnets): boolean {
    return [v4, v6].every((subnet) => subnet === undefined || this.#allows(key, subnet));
  }

  /** The subnets that lines name for a key, in the order of the lines; ranges of several among them. */
  namedFor(key: string): Prefix[] {
    return [...this.#byLength.values()]
      .flat()
      .filter((prefix) => this.#keys.get(formatPrefix(prefix))?.has(key));
  }

  /** Whether a line names the subnet of a lease, a part of it, or more than it. */
  names({ v4, v6 }: Subnets): boolean {
    return [v4, v6].some((subnet) => subnet !== undefined && !this.#namedWith(subnet).next().done);
  }

  #allows(key: string, subnet: Prefix): boolean {
    let isNamed = false;
    for (const prefix of this.#namedWith(subnet)) {
      isNamed = true;
      const keys = this.#keys.get(formatPrefix(prefix));
      if (keys?.has(key) && prefix.length <= subnet.length) return true;
    }
    return !isNamed && this.#any.has(key);
  }

  #add(key: string, prefix: Prefix): void {
    const text = formatPrefix(prefix);
    let keys = this.#keys.get(text);
    if (keys === undefined) {
      keys = new Set();
      this.#keys.set(text, keys);
      const length = `${prefix.family}/${prefix.length}`;
      this.#byLength.set(length, [...(this.#byLength.get(length) ?? []), prefix]);
    }
    keys.add(key);
  }

  /** The named prefixes that overlap a subnet. A wider one is looked up, and only narrower ones are looked through. */
  *#namedWith(subnet: Prefix): Generator<Prefix> {
    for (const [length, prefixes] of this.#byLength) {
      const [first] = prefixes;
      if (first === undefined || !length.startsWith(`${subnet.family}/`)) continue;
      if (first.length <= subnet.length) {
        const wider = masked(prefixOf(subnet.address, first.length));
        if (this.#keys.has(formatPrefix(wider))) yield wider;
      } else {
        for (const prefix of prefixes) if (containsPrefix(subnet, prefix)) yield prefix;
      }
    }
  }
}

/** Reads the file's text. Throws WeftError `trust-file` with the line that can't be read. */
export const parseTrustedKeys = (text: string, path: string): TrustedKeys =>
  new TrustedKeys(trustLines(text, path));

export function trustLines(text: string, path: string): TrustLine[] {
  return text.split('\n').flatMap((line, index) => {
    const words = line.replace(/#.*/, '').trim().split(/\s+/).filter(Boolean);
    if (words.length === 0) return [];
    const [key = '', subnet = ''] = words;
    const prefix = subnet === 'any' ? undefined : parsePrefix(subnet);
    const why =
      words.length !== 2
        ? 'a line is a key and a subnet'
        : !isKeyText(key)
          ? `${quoted(key)} is not a key`
          : subnet !== 'any' && (prefix === undefined || hasHostBits(prefix))
            ? `${quoted(subnet)} is not a subnet`
            : undefined;
    if (why === undefined) return [{ key, prefix }];
    throw new WeftError('trust-file', `could not read line ${index + 1} of ${path}: ${why}`, {
      remedy: `write KEY SUBNET or KEY any; "weft trust show" on a host prints its key`,
    });
  });
}

const quoted = (text: string): string => JSON.stringify(text.slice(0, 60));
