import type { DeviceChoice } from '#src/driver/choose-devices.ts';
import {
  ownSegmentDevices,
  type SegmentDevices,
  type SharedDevicesComponents,
  SharedSegmentDevices,
} from '#src/driver/segment-devices.ts';
import type { SegmentWiring } from '#src/tenant/segment-wiring.ts';

export interface ChosenDevicesOptions {
  /** Of the start. */
  readonly choice: DeviceChoice;
  /** Chooses again, for a host that had its devices from an earlier run. Default: the choice of the start stays. */
  readonly chooseAgain?: () => Promise<DeviceChoice>;
  /** There is another choice. */
  readonly onChange?: (choice: DeviceChoice) => void;
}

/**
 * Devices of the form that was chosen. A host that was upgraded has devices for each network, and containers in them, so it
 * goes on with that form; once the last of its segments is gone, it is chosen again.
 */
export class ChosenDevices implements SegmentDevices {
  readonly #components: SharedDevicesComponents;
  readonly #options: ChosenDevicesOptions;
  #choice: DeviceChoice;
  #devices: SegmentDevices;
  /** Segments that are open. */
  #open = 0;
  #choosing: Promise<void> | undefined;

  constructor(components: SharedDevicesComponents, options: ChosenDevicesOptions) {
    this.#components = components;
    this.#options = options;
    this.#choice = options.choice;
    this.#devices = devicesOf(components, options.choice);
  }

  get kind(): DeviceChoice['kind'] {
    return this.#choice.kind;
  }

  /** While a choice is under way, its trial and a segment would be in each other's way. */
  ready(): Promise<void> | undefined {
    return this.#choosing;
  }

  open(vni: number): SegmentWiring {
    this.#open++;
    return this.#devices.open(vni);
  }

  setForwards(vni: number, forwards: boolean): void {
    this.#devices.setForwards(vni, forwards);
  }

  moved(): void {
    this.#devices.moved();
  }

  close(vni: number): void {
    this.#devices.close(vni);
    this.#open--;
    const { chooseAgain } = this.#options;
    if (this.#open > 0 || this.#choice.kind === 'shared' || !this.#choice.isForNow) return;
    if (chooseAgain === undefined || this.#choosing !== undefined) return;
    this.#choosing = this.#choose(chooseAgain).finally(() => {
      this.#choosing = undefined;
    });
  }

  async #choose(chooseAgain: () => Promise<DeviceChoice>): Promise<void> {
    // The kernel could not be asked: the next time.
    const choice = await chooseAgain().catch(() => this.#choice);
    const isSame = choice.kind === this.#choice.kind;
    if (this.#open > 0) return;
    this.#choice = choice;
    if (isSame) return;
    this.#devices = devicesOf(this.#components, choice);
    this.#options.onChange?.(choice);
  }
}

const devicesOf = (components: SharedDevicesComponents, choice: DeviceChoice): SegmentDevices =>
  choice.kind === 'own' ? ownSegmentDevices : new SharedSegmentDevices(components, choice);
