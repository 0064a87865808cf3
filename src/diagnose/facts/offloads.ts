import { absentFact, type Fact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { CommandRunner } from '#src/sys/command.ts';

/** What a device leaves to its hardware or to the device below it. */
export interface Offloads {
  /** `tx-checksumming`: checksums of what is sent. */
  readonly txChecksum: boolean;
}

/** Equals `ethtool -k DEVICE`. */
export async function readOffloads(
  commands: CommandRunner,
  device: string | undefined,
): Promise<Fact<Offloads>> {
  if (device === undefined) return absentFact('the backend has no device of its own');
  const { code, stdout } = await commands.run(['ethtool', '-k', device], { timeoutMs: 1_500 });
  if (code === 127) return unknownFact("offloads can't be read without ethtool (Debian package ethtool)");
  const offloads = code === 0 ? parseOffloads(stdout) : undefined;
  return offloads === undefined ? unknownFact(`ethtool reads no offloads of ${device}`) : knownFact(offloads);
}

export function parseOffloads(output: string): Offloads | undefined {
  const state = /^tx-checksumming: (on|off)/m.exec(output)?.[1];
  return state === undefined ? undefined : { txChecksum: state === 'on' };
}
