import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { messageOf } from '#src/lib/errors.ts';
import { BpfActuator } from '#src/reconcile/fast-path/bpf-actuator.ts';
import type { FormName } from '#src/reconcile/fast-path/hooks.ts';
import { systemBpfPins } from '#src/sys/bpf-pins.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemNetlink } from '#src/sys/netlink-socket.ts';
import { cannotRun } from './test-lab.ts';

/** How this kernel can have a fast path, in tests that run these programs: for each form `false`, or the reason to skip it. */
export async function bpfForms(...programs: string[]): Promise<ReadonlyMap<FormName, string | false>> {
  const skip = cannotRun(...programs);
  if (skip !== false) {
    return new Map([
      ['tcx', skip],
      ['clsact', skip],
    ]);
  }
  const folder = mkdtempSync(join(tmpdir(), 'weft-bpffs-'));
  const call = (...words: string[]) => execFileSync(words[0] ?? '', words.slice(1), { stdio: 'ignore' });
  let isMounted = false;
  try {
    try {
      call('mount', '-t', 'bpf', 'bpf', folder);
      isMounted = true;
    } catch {
      // Then there is no tcx.
    }
    const actuator = new BpfActuator(
      { netlink: systemNetlink, pins: systemBpfPins, clock: systemClock },
      { bpffs: folder },
    );
    const found = await actuator.check().catch(messageOf);
    actuator.close();
    const lack = found === 'tcx' || found === 'clsact' ? false : `this kernel has no fast path: ${found}`;
    return new Map([
      ['tcx', lack || (found === 'tcx' ? false : 'this kernel has no tcx')],
      ['clsact', lack],
    ]);
  } finally {
    if (isMounted) call('umount', folder);
    rmdirSync(folder);
  }
}
