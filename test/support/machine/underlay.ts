import { type LabComponents, outputOf, systemLabComponents } from '#src/lab/components.ts';
import { type Place, placeOf, type UnderlayPlan, underlayLines } from '#src/lab/underlay.ts';
import { ipv4 } from '#src/lib/ip.ts';
import type { Owner } from '../test-lab.ts';
import { removeLeftovers } from './remove-leftovers.ts';

/** The seed's servers: number 0 has 172.16.70.190, the next ones follow. */
const PLAN: UnderlayPlan = { kind: 'l2', base: ipv4(0xac1046be), mtu: 1500 };

let made = 0;

/** The network between clean machines: a bridge in a namespace of its own, which is their default gateway as well. */
export class Underlay {
  readonly namespace: string;
  readonly #components: LabComponents;

  static async make(owner: Owner): Promise<Underlay> {
    await removeLeftovers();
    const underlay = new Underlay(systemLabComponents());
    await underlay.#must(['ip', 'netns', 'add', underlay.namespace]);
    owner.after(() => underlay.#must(['ip', 'netns', 'delete', underlay.namespace]));
    await underlay.#batch(underlay.namespace, underlayLines(PLAN));
    return underlay;
  }

  private constructor(components: LabComponents) {
    this.#components = components;
    this.namespace = `weft-test-${process.pid}-u${++made}`;
  }

  /** Where the machine with this number goes. */
  placeOf(name: string, number: number, namespace: string): Place {
    return placeOf(PLAN, name, number, namespace);
  }

  /** Gives the machine's network namespace its eth0, with address and default route. */
  async connect(place: Place, namespace: string): Promise<void> {
    await this.#batch(this.namespace, place.wire);
    // Its own, as a card's is: the others remember it over a reboot.
    const bytes = place.address.split('.').map((byte) => Number(byte).toString(16));
    const address = `link set eth0 address 02:00:${bytes.join(':')}`;
    await this.#batch(namespace, ['link set lo up', address, ...place.host]);
  }

  /** A cable that is pulled: what is left of a namespace that is going goes at once. */
  async disconnect(name: string): Promise<void> {
    await this.#components.commands.run(['ip', '-n', this.namespace, 'link', 'delete', name]);
  }

  async #batch(namespace: string, lines: readonly string[]): Promise<void> {
    await this.#must(['ip', '-n', namespace, '-batch', '-'], lines);
  }

  async #must(argv: [string, ...string[]], lines: readonly string[] = []): Promise<void> {
    outputOf(argv, await this.#components.commands.run(argv, { stdin: `${lines.join('\n')}\n` }));
  }
}
