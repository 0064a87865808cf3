import { askRegistry } from '#src/cli/ask-registry.ts';
import type { CommandContext } from '#src/cli/command.ts';
import type { FlanneldOptions } from '#src/node/flanneld-flags.ts';

type Opened = import('#src/registry/open-registry.ts').OpenedRegistry;

/**
 * Works with the registry of the network at `--etcd-prefix`, and its config, for as long as a command waits. Throws WeftError
 * `registry` when there is none.
 */
export async function withRegistry<T>(
  options: FlanneldOptions,
  { signal }: Pick<CommandContext, 'signal'>,
  use: (opened: Opened, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { openRegistry } = await import('#src/registry/open-registry.ts');
  const { registryOptions } = await import('#src/node/registry-options.ts');
  const { systemClock } = await import('#src/sys/clock.ts');
  const { systemFiles } = await import('#src/sys/files.ts');
  const { systemRandom } = await import('#src/sys/random.ts');
  return askRegistry({ signal, failure: 'no network config' }, async (log, signal) => {
    const components = { clock: systemClock, files: systemFiles, random: systemRandom, logger: log };
    const opened = await openRegistry(components, registryOptions(options), signal);
    try {
      return await use(opened, signal);
    } finally {
      await opened.registry.close();
    }
  });
}
