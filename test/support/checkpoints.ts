import type { Host } from '#src/lab/host.ts';
import { systemCommands } from '#src/sys/command.ts';

/** runc's file for CRIU, in an /etc of the host's own. */
const KEEP_CONNECTIONS = `
set -e
cp -a /etc /run/etc
mkdir -p /run/etc/criu
echo tcp-established > /run/etc/criu/runc.conf
mount -n --bind /run/etc /etc`;

/** Makes open connections of TCP part of a host's checkpoints. */
export async function keepConnections(host: Host): Promise<void> {
  await host.must(['sh', '-c', KEEP_CONNECTIONS]);
}

/** Why processes can't be frozen and restored. */
export async function cannotCheckpoint(): Promise<string | false> {
  const { code, stderr } = await systemCommands.run(['criu', 'check']);
  if (code === 127) return 'needs criu, of a version that knows this kernel';
  return code !== 0 && `needs a working criu: ${stderr.trim().split('\n').at(-1)}`;
}
