import { monitorNftables } from '#src/kernel/nftables-monitor.ts';
import { NftablesRuleset } from '#src/kernel/nftables-ruleset.ts';
import { RtnetlinkKernel } from '#src/kernel/rtnetlink-kernel.ts';
import { WireguardKernel } from '#src/kernel/wireguard-kernel.ts';
import { XfrmKernel } from '#src/kernel/xfrm-kernel.ts';
import { messageOf } from '#src/lib/errors.ts';
import type { LoggerSource } from '#src/lib/log.ts';
import { NodeSecrets } from '#src/node/backend-secrets.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';
import { Host } from '#src/node/host.ts';
import type { HostComponents } from '#src/node/shared-host.ts';
import { CharonActuator } from '#src/reconcile/charon-actuator.ts';
import type { BpfActuator } from '#src/reconcile/fast-path/bpf-actuator.ts';
import { LazyActuator } from '#src/reconcile/lazy-actuator.ts';
import { FAST_KINDS } from '#src/state/object.ts';
import { announcerIn } from '#src/sys/address-announcer.ts';
import { systemPrograms } from '#src/sys/child-program.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemCommands } from '#src/sys/command.ts';
import { keepSmall } from '#src/sys/engine.ts';
import { systemFiles } from '#src/sys/files.ts';
import { systemFolders } from '#src/sys/folders.ts';
import { systemLocks } from '#src/sys/host-lock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { hasOwnMounts } from '#src/sys/own-mounts.ts';
import { passedSockets } from '#src/sys/passed-sockets.ts';
import { forgetProgramPages } from '#src/sys/program-pages.ts';
import { systemRandom } from '#src/sys/random.ts';
import { systemSecretFiles } from '#src/sys/secret-files.ts';
import { systemShell } from '#src/sys/shell.ts';
import type { ServiceManager } from '#src/sys/systemd-notify.ts';
import { systemUnixHttp } from '#src/sys/unix-http.ts';
import { systemUnixStreams } from '#src/sys/unix-stream.ts';

/** The real host, in the network namespace of this process. */
export function hostComponents(log: LoggerSource, systemd: ServiceManager): HostComponents {
  const wireguard = new WireguardKernel({ netlink: systemNetlink, clock: systemClock });
  const fast = new LazyActuator<BpfActuator>(FAST_KINDS, async () => {
    const [{ BpfActuator }, { systemBpfPins }] = await Promise.all([
      import('#src/reconcile/fast-path/bpf-actuator.ts'),
      import('#src/sys/bpf-pins.ts'),
    ]);
    return new BpfActuator({ netlink: systemNetlink, pins: systemBpfPins, clock: systemClock });
  });
  return {
    kernel: new RtnetlinkKernel({ netlink: systemNetlink }),
    actuators: [
      wireguard,
      new XfrmKernel({ netlink: systemNetlink }),
      new CharonActuator({ streams: systemUnixStreams, clock: systemClock, log: log('charon') }),
      fast,
    ],
    close: () => fast.loaded?.close(),
    fastPrograms: {
      counts: (device) => fast.loaded?.counts(device),
      prepare: (ifindex) => fast.loaded?.prepare(ifindex),
    },
    wireguard,
    secrets: new NodeSecrets(systemSecretFiles, { keyFile: process.env.WIREGUARD_KEY_FILE }),
    watchRules: (listener, signal) =>
      monitorNftables({ netlink: systemNetlink, clock: systemClock }, {}, listener, signal),
    ruleset: new NftablesRuleset({ netlink: systemNetlink, clock: systemClock }),
    clock: systemClock,
    commands: systemCommands,
    shell: systemShell,
    programs: systemPrograms,
    files: systemFiles,
    folders: systemFolders,
    http: systemUnixHttp,
    locks: systemLocks,
    announcer: announcerIn(),
    random: systemRandom,
    measuring: async () => (await import('#src/sys/measuring-sockets.ts')).systemMeasuringSockets,
    traces: async (place) =>
      (await import('#src/diagnose/trace/trace-handlers.ts')).systemTraceHandlers(place),
    createLogger: log,
    serviceManager: systemd,
    onLoaded: () => {
      keepSmall();
      forgetPages(log);
    },
    passedSockets: passedSockets(process.env, process.pid),
    hasOwnMounts: () => hasOwnMounts(systemFiles, process.env),
  };
}

/** Once what runs only once has run: Node's own start, and the loading of parts. */
function forgetPages(log: LoggerSource): void {
  forgetProgramPages().catch((error) =>
    log('flanneld').verbose(1, `Pages of the program stay in memory: ${messageOf(error)}`),
  );
}

/** flanneld on the real host, until the signal aborts; rejects with its reason, or with what ended it. */
export async function runHost(
  options: FlanneldOptions,
  { log, systemd }: { readonly log: LoggerSource; readonly systemd: ServiceManager },
  signal: AbortSignal,
): Promise<number> {
  forgetPages(log);
  const components = hostComponents(log, systemd);
  try {
    return await new Host(options, components).run(signal);
  } finally {
    components.kernel.close();
    components.close?.();
  }
}
