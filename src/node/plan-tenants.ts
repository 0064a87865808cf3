import { ContainerEnds } from '#src/driver/container-ends.ts';
import { type ForeseenTenants, foreseeTenants } from '#src/driver/foresee-tenants.ts';
import type { Kernel } from '#src/kernel/kernel.ts';
import { MemoryKernel } from '#src/kernel/memory-kernel.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { hasDocker, isDriverAskedFor } from '#src/node/docker-presence.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { readNodeIdentity } from '#src/node/identity.ts';
import { reconcilerOptions } from '#src/node/network-options.ts';
import type { StartPlan } from '#src/node/plan-start.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { tenantIdentity } from '#src/node/tenant-parts.ts';
import { tenantRules } from '#src/node/tenant-rules.ts';
import { placeOf } from '#src/node/tunnel-place.ts';
import { chooseUnderlay } from '#src/node/underlay/choose-underlay.ts';
import { readHostFacts } from '#src/node/underlay/host-facts.ts';
import { readUnderlayFlags } from '#src/node/underlay/underlay-selection.ts';
import { Reconciler } from '#src/reconcile/reconciler.ts';
import { SysctlActuator } from '#src/reconcile/sysctl-actuator.ts';
import type { RecordFolders } from '#src/registry/records.ts';
import { commandOf } from '#src/state/operation.ts';
import type { CommandRunner } from '#src/sys/command.ts';
import type { Files } from '#src/sys/files.ts';
import { NamespaceFiles } from '#src/sys/namespace-files.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import {
  isNetworkNamespace,
  networkNamespacePath,
  systemNetworkNamespaces,
} from '#src/sys/network-namespaces.ts';

/** Whether a start would serve Docker's driver on this host now: it is asked for, or there is Docker. */
export const servesDocker = (
  components: Pick<HostComponents, 'files' | 'passedSockets'>,
  options: FlanneldOptions,
): boolean =>
  options.dockerDriver !== 'off' && (isDriverAskedFor(components, options) || hasDocker(components, options));

/**
 * Plans the start of Docker's driver without doing any of it: reads the book, the registry, the kernel and the rules, and
 * writes nothing. Docker is not asked. Commands name the namespace in which they count.
 */
export async function planTenants(
  components: HostComponents,
  options: FlanneldOptions,
  folders: RecordFolders,
  signal: AbortSignal,
): Promise<StartPlan> {
  const { files, kernel, clock, createLogger } = components;
  const looking: Files = {
    ...files,
    writeAtomically: async () => {},
    append: async () => {},
    createExclusively: async () => false,
  };
  const log = createLogger('plan');
  const id = await readNodeIdentity({ files: looking, log }, options.stateDir);
  const selection = await readUnderlayFlags(options);
  const place = placeOf(chooseUnderlay(selection, await readHostFacts(kernel, selection)), options);
  const isThere = await systemNetworkNamespaces.isThere(TENANT_NAMESPACE);
  const inside = isThere ? openInside() : notYet(files);
  try {
    const foreseen = await foreseeTenants(
      {
        ...components,
        kernel: inside.kernel,
        files: looking,
        folders,
        reconciler: new Reconciler(
          { actuators: [inside.kernel, new SysctlActuator(inside)], clock, log },
          reconcilerOptions(options),
        ),
        rules: tenantRules(isThere ? components : { ...components, commandsInside: NOTHING_THERE }, options),
        ends: new ContainerEnds({
          ports: inside.kernel,
          open: (sandbox) => new RtnetlinkKernel({ netlink: systemNetlink }, { namespace: sandbox }),
          settings: (sandbox) => new NamespaceFiles(sandbox),
          isThere: isNetworkNamespace,
        }),
        place: () => place,
      },
      {
        stateDir: options.stateDir,
        identity: await tenantIdentity({ files: looking, identity: id }),
        dockerNetworks: options.dockerNetworks,
      },
      signal,
    );
    return startPlanOf(foreseen, isThere);
  } finally {
    inside.close();
  }
}

interface Inside {
  readonly kernel: Kernel;
  readonly files: Pick<Files, 'read' | 'write'>;
  close(): void;
}

function openInside(): Inside {
  const namespace = networkNamespacePath(TENANT_NAMESPACE);
  const kernel = new RtnetlinkKernel({ netlink: systemNetlink }, { namespace });
  return { kernel, files: new NamespaceFiles(namespace), close: () => kernel.close() };
}

/**
 * A namespace that has to be made. What its settings will be depends on the kernel's version and on the host's, so that
 * each counts as another than is wanted, if this kernel has it.
 */
const notYet = (files: Pick<Files, 'read'>): Inside => ({
  kernel: new MemoryKernel(),
  files: {
    read: async (path) => ((await files.read(path)) === undefined ? undefined : ''),
    write: async () => {},
  },
  close: () => {},
});

const NOTHING_THERE: CommandRunner = { run: async () => ({ code: 1, stdout: '', stderr: '' }) };

const IN_TENANTS = ['ip', 'netns', 'exec', TENANT_NAMESPACE] as const;

function startPlanOf(
  { operations, ends, rules, writes, unknownToDocker, hasNoBook, isUntried }: ForeseenTenants,
  isThere: boolean,
): StartPlan {
  const step = (prefix: readonly string[], change: (typeof rules)['host']) =>
    change === undefined
      ? []
      : [
          {
            command: [...prefix, 'nft', '-f', '-'] as unknown as readonly [string, ...string[]],
            input: change.transaction,
            faults: change.faults,
          },
        ];
  return {
    registry: [
      ...writes.map(
        ({ folder, name }) =>
          `would write the address ${name} of Docker's network ${folder.split('/').at(-1)}`,
      ),
      ...(unknownToDocker.length === 0
        ? []
        : [`Docker gets these networks, unless it has them: ${unknownToDocker.join(', ')}`]),
      ...(hasNoBook
        ? ["which of Docker's containers are in networks of weft is not known before Docker is asked"]
        : []),
      ...(isUntried
        ? ['a start tries whether one device can carry all networks; these commands make some for each']
        : []),
    ],
    commands: [
      ...(isThere
        ? []
        : [`ip netns add ${TENANT_NAMESPACE}`, `ip netns exec ${TENANT_NAMESPACE} ip link set lo up`]),
      ...operations.map((operation) => [...IN_TENANTS, commandOf(operation)].join(' ')),
      ...ends.flatMap(({ sandbox, operations: own }) =>
        own.map((operation) => `nsenter --net=${sandbox} ${commandOf(operation)}`),
      ),
    ],
    transactions: [...step(IN_TENANTS, rules.inside), ...step([], rules.host)],
  };
}
