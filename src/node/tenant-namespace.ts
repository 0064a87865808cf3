import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import { untilBeat } from '#src/sys/beat.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { HeldNamespace, NetworkNamespaces } from '#src/sys/network-namespaces.ts';
import { networkNamespacePath } from '#src/sys/network-namespaces.ts';

export interface TenantNamespaceComponents {
  readonly namespaces: NetworkNamespaces;
  readonly clock: Clock;
  readonly log: Logger;
  /** What this process mounts is seen by nobody else; see sys/own-mounts.ts. */
  readonly hasOwnMounts: boolean;
}

/** All tenants of a host are in one network namespace of this name: Docker's FORWARD DROP does not reach it. */
export const TENANT_NAMESPACE = 'weft';
const LOOK_MS = 1_000;

/**
 * The network namespace of the tenants' bridges, while a process serves them. It outlives the process by its name. A
 * name that is taken away comes back; the namespace lives on meanwhile, for the process holds it.
 */
export class TenantNamespace {
  readonly path = networkNamespacePath(TENANT_NAMESPACE);
  readonly #components: TenantNamespaceComponents;
  readonly #held: HeldNamespace;
  #trouble: string | undefined;

  /** Throws WeftError `netns-make`, `netns`, and `netns-hidden` where only this process would see a new one. */
  static async open(components: TenantNamespaceComponents): Promise<TenantNamespace> {
    const { namespaces, hasOwnMounts } = components;
    if (hasOwnMounts && !(await namespaces.isThere(TENANT_NAMESPACE))) {
      throw new WeftError(
        'netns-hidden',
        `there is no network namespace ${TENANT_NAMESPACE}, and in the sandbox of systemd's unit nobody else would see a new one`,
        {
          remedy:
            'systemctl enable weft-docker.socket, or install flanneld.service.d/weft-driver.conf: then "weft namespace" runs before flanneld',
        },
      );
    }
    await namespaces.ensure(TENANT_NAMESPACE);
    return new TenantNamespace(components, await namespaces.hold(TENANT_NAMESPACE));
  }

  private constructor(components: TenantNamespaceComponents, held: HeldNamespace) {
    this.#components = components;
    this.#held = held;
  }

  /** Why it is not as it should be; one clause. */
  get trouble(): string | undefined {
    return this.#trouble;
  }

  /**
   * Looks after the name until the signal aborts. Rejects with WeftError `netns-replaced` when another namespace has it: all
   * has to be made again there.
   */
  async follow(signal: AbortSignal): Promise<never> {
    for (;;) {
      await untilBeat(this.#components.clock, LOOK_MS, signal);
      const { named } = this.#held;
      if (named === 'another') {
        throw new WeftError(
          'netns-replaced',
          `the network namespace ${TENANT_NAMESPACE} was replaced by another one`,
        );
      }
      if (named === 'none') this.#nameAgain();
      else if (this.#trouble !== undefined) this.#mended();
    }
  }

  close(): void {
    this.#held.close();
  }

  #nameAgain(): void {
    if (this.#components.hasOwnMounts) {
      const what = `the network namespace ${TENANT_NAMESPACE} has lost its name, and goes when flanneld ends`;
      this.#complain(`${what}; restart flanneld: it makes all again, in another one`);
      return;
    }
    try {
      this.#held.restoreName();
      this.#trouble = undefined;
      this.#components.log.warning(
        `The network namespace ${TENANT_NAMESPACE} had lost its name, and has it again`,
      );
    } catch (error) {
      this.#complain(messageOf(error));
    }
  }

  #complain(trouble: string): void {
    if (trouble !== this.#trouble) this.#components.log.error(trouble);
    this.#trouble = trouble;
  }

  #mended(): void {
    this.#trouble = undefined;
    this.#components.log.info(`The network namespace ${TENANT_NAMESPACE} has its name again`);
  }
}
