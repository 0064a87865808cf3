import type { Resolvers } from '#src/driver/names/host-resolvers.ts';
import { NameServer, type NameServerEvents } from '#src/driver/names/name-server.ts';
import type { Names } from '#src/driver/names/name-table.ts';
import { Responder } from '#src/driver/names/responder.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { formatIp, type Ip } from '#src/lib/ip.ts';
import { Lifetime } from '#src/lib/lifetime.ts';
import type { Logger } from '#src/lib/log.ts';
import type { Clock } from '#src/sys/clock.ts';
import type { DevicePlace, DeviceSockets } from '#src/sys/device-sockets.ts';
import { startTimer } from '#src/sys/timer.ts';
import type { Tenant } from '#src/tenant/tenant.ts';

export interface NameServersOptions {
  /** Where the tenants' bridges are, as a path: `/run/netns/weft`. */
  readonly namespace: string;
  /** A tenant's bridge. */
  readonly deviceOf: (tenant: Tenant) => string;
  /** Where the tenant's names are answered. Default: on its gateways. */
  readonly addressesOf?: (tenant: Tenant) => readonly Ip[];
  /** How often each socket is looked at, milliseconds. Default: 1,000. */
  readonly lookMs?: number;
  /** Default: 53. */
  readonly port?: number;
}

export interface NameService {
  /** Why names are not answered on an address where they should be; one clause. */
  readonly trouble: string | undefined;
  /** Resolves when every socket is closed. */
  stop(): Promise<void>;
}

/** An address or bridge that is not there yet, or no more: it is made by others, and looked for again. */
const NOT_THERE: readonly string[] = ['ENODEV', 'EADDRNOTAVAIL', 'netns'];
/** A lasting fault is logged so often. */
const LOG_AGAIN_MS = 60_000;

/**
 * A host's name servers: one for each gateway address of each tenant that is present, on the tenant's bridge. Two tenants
 * may have one address. The bridge decides which names a question gets.
 *
 * The namespace has to be so that nothing but these answers passes from bridge to bridge: it does not forward, and the
 * gateway addresses have no subnet route beside them (`ip address add 10.5.0.1/32`). With such a route the kernel's own
 * answers to a forged sender, as ICMP, go out by another tenant's bridge. A socket on a device needs no route in IPv4
 * (ip_route_output_key_hash_rcu in net/ipv4/route.c), given `rp_filter=0`; in IPv6 it needs one behind
 * `ip -6 rule add oif BRIDGE`. test/tenants/names.test.ts shows all of it.
 */
export class NameServers {
  readonly #components: {
    readonly sockets: DeviceSockets;
    readonly resolvers: Resolvers;
    readonly clock: Clock;
    readonly log: Logger;
  };
  readonly #options: Required<NameServersOptions>;
  readonly #waiting = new Set<() => void>();

  constructor(
    components: {
      readonly sockets: DeviceSockets;
      readonly resolvers: Resolvers;
      readonly clock: Clock;
      readonly log: Logger;
    },
    options: NameServersOptions,
  ) {
    this.#components = components;
    this.#options = { lookMs: 1_000, port: 53, addressesOf: gatewaysOf, ...options };
  }

  /** Answers for the tenant from as soon as its bridge has the address, and again after either was made again. */
  serve(tenant: Tenant, names: Names): NameService {
    const life = new Lifetime();
    const troubles = new Map<Ip, string>();
    const responder = new Responder(this.#components, { tenant, names });
    for (const address of this.#options.addressesOf(tenant)) {
      troubles.set(address, `names of ${tenant.name} are not answered yet`);
      life.run((signal) => this.#keepOpen(tenant, address, responder, troubles, signal));
    }
    return {
      get trouble() {
        return troubles.values().next().value;
      },
      stop: () => life.stop(),
    };
  }

  /** A bridge was made or changed: look now, and not only when it is time. */
  look(): void {
    for (const wake of this.#waiting) wake();
  }

  async #keepOpen(
    tenant: Tenant,
    address: Ip,
    responder: Responder,
    troubles: Map<Ip, string>,
    signal: AbortSignal,
  ): Promise<void> {
    const { log } = this.#components;
    const { namespace, deviceOf, port } = this.#options;
    const place = { namespace, device: deviceOf(tenant), address, port };
    const events = this.#events(tenant);
    let server: NameServer | undefined;
    try {
      while (!signal.aborted) {
        if (server?.isAttached !== true) {
          await server?.close();
          server = undefined;
          try {
            server = await NameServer.open({ ...this.#components, responder }, place, events);
            troubles.delete(address);
            log.verbose(1, `names of ${tenant.name} are answered on ${formatIp(address)}`);
          } catch (error) {
            const trouble = messageOf(unanswered(tenant, place, error));
            if (!isNotThere(error) && troubles.get(address) !== trouble) log.warning(trouble);
            troubles.set(address, trouble);
          }
        }
        await this.#untilLook(signal);
      }
    } finally {
      await server?.close();
    }
  }

  async #untilLook(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = startTimer(this.#components.clock, this.#options.lookMs, resolve);
    this.#waiting.add(resolve);
    const end = (): void => resolve();
    signal.addEventListener('abort', end, { once: true });
    if (signal.aborted) end();
    await promise;
    signal.removeEventListener('abort', end);
    this.#waiting.delete(resolve);
    timer.stop();
  }

  /** One line a minute of each, however often it happens. */
  #events({ name }: Tenant): NameServerEvents {
    const { clock, log } = this.#components;
    const seldom = (write: (message: string) => void) => {
      let last: number | undefined;
      return (message: string) => {
        if (last !== undefined && clock.monotonic() - last < LOG_AGAIN_MS) return;
        last = clock.monotonic();
        write(message);
      };
    };
    const warn = seldom((message) => log.warning(message));
    const fail = seldom((message) => log.error(message));
    return {
      onFlood: () => warn(`a container in ${name} asks for too many names; some questions get no answer`),
      onFault: (error) => fail(`a question for a name in ${name} got no answer: ${messageOf(error)}`),
    };
  }
}

const codeOf = (error: unknown): string => (error as { readonly code?: string }).code ?? '';

const isNotThere = (error: unknown): boolean => NOT_THERE.includes(codeOf(error));

function unanswered(
  tenant: Tenant,
  { device, address, namespace, port }: DevicePlace,
  cause: unknown,
): WeftError {
  const what = `names of ${tenant.name} can't be answered at ${formatIp(address)} on ${device}`;
  const taken = `\`nsenter --net=${namespace} ss -lntup sport = :${port}\` names the program that has the port`;
  return new WeftError('names', `${what}: ${messageOf(cause)}`, {
    cause,
    remedy: codeOf(cause) === 'EADDRINUSE' ? taken : 'it is tried again',
  });
}

const gatewaysOf = ({ subnets }: Tenant): Ip[] =>
  [subnets.v4?.gateway, subnets.v6?.gateway].filter((gateway) => gateway !== undefined);
