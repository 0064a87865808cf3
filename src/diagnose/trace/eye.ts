import { readPacketFilters } from '#src/diagnose/facts/packet-filters.ts';
import type { SeenFilters } from '#src/firewall/packet-drops.ts';
import { DeviceIndexes } from '#src/kernel/find-device.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { NamespaceNumbers } from '#src/kernel/namespace-numbers.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { askRoute, type RouteDecision, type RouteQuestion } from '#src/kernel/route-question.ts';
import { RtnetlinkClient } from '#src/kernel/rtnetlink-client.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { systemClock } from '#src/sys/clock.ts';
import { commandsIn, systemCommands } from '#src/sys/command.ts';
import { type Files, systemFiles } from '#src/sys/files.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { NETLINK_ROUTE, type Netlink } from '#src/sys/netlink-socket.ts';

/** What a trace reads of one network namespace. Nothing is changed by it. */
export interface Eye {
  /** The namespace as a path; `undefined` for the process's own. */
  readonly namespace: string | undefined;
  /** Devices, addresses, neighbours and forwarding entries. */
  readonly kernel: Pick<Kernel, 'links' | 'dump'>;
  /** Equals `ip route get TO from FROM iif BY`. */
  route(question: RouteQuestion): Promise<RouteDecision>;
  /** The value of a sysctl by its path below /proc/sys; `undefined` where there is none. */
  sysctl(path: string): Promise<string | undefined>;
  /** The numbers (nsid) that other namespaces, by their paths, have in this one; those without one are left out. */
  numbersOf(namespaces: readonly string[]): Promise<ReadonlyMap<number, string>>;
  /** Read once. */
  filters(): Promise<SeenFilters>;
  /** The same of another namespace of this machine. */
  at(namespace: string): Eye;
  close(): void;
}

export interface EyeOptions {
  /** As a path: `/run/netns/NAME`. Default: the process's own. */
  readonly namespace?: string | undefined;
  /** The host's namespace, where {@link namespace} is another one on it. */
  readonly hostNamespace?: string | undefined;
}

/** An eye on this machine. */
export function openEye({ netlink }: { readonly netlink: Netlink }, options: EyeOptions = {}): Eye {
  const { namespace, hostNamespace } = options;
  const inside = namespace === undefined ? {} : { namespace };
  const host = hostNamespace === undefined ? {} : { hostNamespace };
  const kernel = new RtnetlinkKernel({ netlink }, { ...inside, ...host });
  const files: Pick<Files, 'read'> = namespace === undefined ? systemFiles : new NamespaceFiles(namespace);
  const commands = namespace === undefined ? systemCommands : commandsIn(systemCommands, namespace);
  const ruleset = new NftablesRuleset({ netlink, clock: systemClock }, inside);
  const others: Eye[] = [];
  let filters: Promise<SeenFilters> | undefined;
  const ask = async <T>(question: (client: RtnetlinkClient) => T): Promise<T> => {
    const client = new RtnetlinkClient(await netlink.open({ protocol: NETLINK_ROUTE, namespace }));
    try {
      return question(client);
    } finally {
      client.close();
    }
  };
  return {
    namespace,
    kernel,
    route: (question) => ask((client) => askRoute(client, new DeviceIndexes(client), question)),
    numbersOf: (namespaces) =>
      ask((client) => {
        const numbers = new NamespaceNumbers(client, undefined);
        return new Map(
          namespaces.flatMap((path) => {
            const number = numbers.numberOf(path);
            return number === undefined ? [] : [[number, path] as const];
          }),
        );
      }),
    async sysctl(path) {
      return (await files.read(`/proc/sys/${path}`).catch(() => undefined))?.trim();
    },
    filters() {
      filters ??= readPacketFilters({ commands, files, ruleset });
      return filters;
    },
    at(path) {
      const eye = openEye({ netlink }, { namespace: path, hostNamespace: namespace });
      others.push(eye);
      return eye;
    },
    close() {
      kernel.close();
      for (const eye of others) eye.close();
    },
  };
}
