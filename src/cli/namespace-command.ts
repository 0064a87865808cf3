import type { Command } from '#src/cli/command.ts';
import type { Output } from '#src/cli/terminal.ts';
import { TENANT_NAMESPACE } from '#src/node/tenant-namespace.ts';
import { systemNetworkNamespaces } from '#src/sys/network-namespaces.ts';

const USAGE = `weft namespace: makes the network namespace ${TENANT_NAMESPACE}, unless it is there
  In systemd's sandbox flanneld could make one that only itself sees, and that goes with it. Its unit runs this before.`;

export const NAMESPACE: Command = { shape: {}, run: (words, { output }) => namespaceCommand(words, output) };

async function namespaceCommand(words: readonly string[], output: Output): Promise<number> {
  if (words.length > 0) {
    output.complain(USAGE);
    return /^--?h(elp)?$/.test(words.join()) ? 0 : 2;
  }
  await systemNetworkNamespaces.ensure(TENANT_NAMESPACE);
  return 0;
}
