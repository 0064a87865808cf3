import { type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { CommandRunner } from '#src/sys/command.ts';

/** A UDP socket that listens. Those of the kernel have no process: a VXLAN device's is one. */
export interface UdpSocket {
  readonly address: string;
  readonly port: number;
  readonly process?: string;
  readonly pid?: number;
}

/** Equals `ss -lunp`. */
export async function readUdpSockets(commands: CommandRunner): Promise<Fact<readonly UdpSocket[]>> {
  const { code, stdout, stderr } = await commands.run(['ss', '-H', '-lunp'], { timeoutMs: 1_500 });
  if (code === 127) return unknownFact("UDP sockets can't be listed without ss (Debian package iproute2)");
  if (code !== 0) return unknownFact(`UDP sockets can't be listed: ${stderr.trim().split('\n')[0] ?? ''}`);
  return knownFact(parseUdpSockets(stdout));
}

/** Lines such as `UNCONN 0 0 0.0.0.0:8472 0.0.0.0:* users:(("socat",pid=71,fd=5))`. */
export const parseUdpSockets = (output: string): UdpSocket[] =>
  output.split('\n').flatMap((line) => {
    const [, address, port] = /^\S+\s+\d+\s+\d+\s+(\S+):(\d+)\s/.exec(line) ?? [];
    if (address === undefined || port === undefined) return [];
    const [, process, pid] = /users:\(\("([^"]+)",pid=(\d+)/.exec(line) ?? [];
    return [
      {
        address,
        port: Number(port),
        ...(process !== undefined && pid !== undefined && { process, pid: Number(pid) }),
      },
    ];
  });
