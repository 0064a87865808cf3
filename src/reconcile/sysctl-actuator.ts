import type { KernelEvent } from '#src/kernel/kernel.ts';
import type { Actuator, Stale } from '#src/reconcile/actuator.ts';
import { SYSCTL, type Sysctl } from '#src/state/kinds/sysctl.ts';
import type { KernelObject } from '#src/state/object.ts';
import type { KernelError, Operation, OperationResult } from '#src/state/operation.ts';
import type { Files } from '#src/sys/files.ts';

/** Kernel settings, as files below /proc/sys. Equals `sysctl -w`. */
export class SysctlActuator implements Actuator {
  readonly kinds = [SYSCTL];
  /** netconf reports forwarding, rp_filter and a few others, and no more. */
  readonly readEveryMs = 10_000;
  readonly #files: Pick<Files, 'read' | 'write'>;

  constructor({ files }: { readonly files: Pick<Files, 'read' | 'write'> }) {
    this.#files = files;
  }

  async read(wanted: readonly KernelObject[], visit: (object: KernelObject) => void): Promise<void> {
    for (const object of wanted) {
      if (object.kind !== 'sysctl') continue;
      const { path } = object;
      try {
        const value = (await this.#files.read(fileOf(object)))?.trim();
        if (value !== undefined) visit({ kind: 'sysctl', path, value });
        // A setting that comes with its device is not there yet; any other is one that this kernel does not have.
        else if (await this.#hasDevice(object)) visit({ kind: 'sysctl', path });
      } catch {
        // What can't be read counts as not found: the attempt to write it gives the reason.
      }
    }
  }

  /** Every device has this file. */
  async #hasDevice(object: Sysctl): Promise<boolean> {
    const device = SYSCTL.deviceOf(object);
    if (device === undefined) return true;
    const file = `/proc/sys/net/ipv4/conf/${device}/forwarding`;
    // When that is the setting itself, it has just been found missing.
    return file !== fileOf(object) && (await this.#files.read(file)) !== undefined;
  }

  /** The host's own forwarding switches that of every device. */
  staleAfter(event: KernelEvent): Stale | undefined {
    if (event.type !== 'netconf') return undefined;
    return SHARED.includes(event.device) ? 'all' : { device: event.device };
  }

  async apply(operations: readonly Operation[]): Promise<OperationResult[]> {
    const results: OperationResult[] = [];
    for (const operation of operations) {
      const error = await this.#write(operation);
      results.push(error === undefined ? { operation, done: true } : { operation, done: false, error });
    }
    return results;
  }

  async #write({ verb, object }: Operation): Promise<KernelError | undefined> {
    if (object.kind !== 'sysctl' || object.value === undefined || verb === 'remove')
      return { errno: 'EOPNOTSUPP', message: `a ${object.kind} has no ${verb}` };
    try {
      await this.#files.write(fileOf(object), object.value);
      return undefined;
    } catch (cause) {
      // In a container /proc/sys may be read-only, and a new device has the host's setting from the start.
      if ((await this.#files.read(fileOf(object)).catch(() => undefined))?.trim() === object.value)
        return undefined;
      const { code = 'EIO', message } = cause as NodeJS.ErrnoException;
      if (code === 'ENOENT' && !(await this.#hasDevice(object)))
        return { errno: 'ENODEV', message: `there is no device ${SYSCTL.deviceOf(object)}` };
      const remedy = `run "${SYSCTL.command('replace', object)}" as root, or let the unit write to /proc/sys`;
      return { errno: code, message: `${message}; ${remedy}` };
    }
  }

  /** The kernel's netconf events are heard by rtnetlink: see {@link staleAfter}. */
  async monitor(): Promise<void> {}
}

/** What the kernel calls the settings of all devices, and of those to come. */
const SHARED: readonly string[] = ['all', 'default'];

const fileOf = ({ path }: Sysctl): string => `/proc/sys/${path}`;
