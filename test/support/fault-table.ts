import type { FaultCase, FaultLab } from './fault-lab.ts';
import { RUNNING_FAULTS } from './faults-while-running.ts';
import { STOPPED_FAULTS } from './faults-while-stopped.ts';
import { startFlanneld } from './flanneld.ts';

export { type FaultCase, type FaultLab, faultLab } from './fault-lab.ts';

const STOPPED_ID = 'daemon-not-running';

/** What a diagnosis says while a fault lasts, sorted. */
export function expectedIds({ id, isStopped, explainsStop }: FaultCase): string[] {
  const also = isStopped === true && explainsStop !== true ? [STOPPED_ID] : [];
  return [...new Set([id, ...also])].sort();
}

export const FAULTS: readonly FaultCase[] = [
  ...RUNNING_FAULTS,
  ...STOPPED_FAULTS.map((fault) => ({ ...fault, isStopped: true }) as const),
];

/** Stops the patient's flanneld; what it made stays. */
export async function stopPatient({ one }: FaultLab): Promise<void> {
  await (await one.host.daemon('flanneld'))?.stop();
}

/** Starts it again; it mends what it finds. */
export async function startPatient({ one }: FaultLab): Promise<void> {
  await startFlanneld(one.host, one.flags);
}
