import { messageOf } from '#src/lib/errors.ts';
import type { Logger } from '#src/lib/log.ts';
import type { FastPathUsers } from '#src/node/fast-path/fast-path-users.ts';
import { artefactsOf, type NetworkPlaces } from '#src/node/network-id.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import type { Reconciler } from '#src/reconcile/reconciler.ts';
import type { KernelObject } from '#src/state/object.ts';
import { commandOf } from '#src/state/operation.ts';
import type { HostLocks } from '#src/sys/host-lock.ts';

export interface OrphansComponents {
  readonly actuators?: readonly Pick<Actuator, 'scan' | 'apply'>[];
  /** Absent where there is no fast path at all. */
  readonly users: Pick<FastPathUsers, 'networks' | 'devicesOf' | 'leave'> | undefined;
  readonly reconciler: Pick<Reconciler, 'check'>;
  readonly locks: HostLocks;
  readonly log: Logger;
}

/**
 * Takes away the fast paths of networks that nobody serves any more: those are not among the flags now, or their configs went while no
 * flanneld ran. Their devices and routes stay as they do after every stop. Networks of another flanneld are left alone: it holds
 * their locks.
 */
export async function removeOrphanedFastPaths(
  { actuators = [], users, reconciler, locks, log }: OrphansComponents,
  { places, served }: { readonly places: NetworkPlaces; readonly served: readonly string[] },
): Promise<void> {
  if (users === undefined) return;
  for (const prefix of await users.networks()) {
    if (served.includes(prefix)) continue;
    const unlock = await locks.claim(artefactsOf({ prefix }, places).lock);
    if (unlock === undefined) continue;
    try {
      await removeSets(actuators, new Set(await users.devicesOf(prefix)));
      const putBack = await users.leave(prefix);
      const more = putBack === undefined ? '' : `: ${putBack}`;
      log.info(`Removed the fast path of ${prefix}, which is not served any more${more}`);
      reconciler.check();
    } catch (error) {
      log.error(
        `Could not remove the fast path of ${prefix}, which is not served any more: ${messageOf(error)}; to remove it: weft cleanup --etcd-prefix=${prefix}`,
      );
    } finally {
      await unlock();
    }
  }
}

/** The sets of these devices. Throws the first refusal. */
async function removeSets(
  actuators: NonNullable<OrphansComponents['actuators']>,
  devices: ReadonlySet<string>,
): Promise<void> {
  for (const actuator of actuators) {
    const found: KernelObject[] = [];
    await actuator.scan?.({ kinds: ['fast-path', 'fast-hook'] }, (object) => {
      if ('set' in object && devices.has(object.set)) found.push(object);
    });
    if (found.length === 0) continue;
    for (const result of await actuator.apply(found.map((object) => ({ verb: 'remove', object }))))
      if (!result.done) throw new Error(`${commandOf(result.operation)}: ${result.error.message}`);
  }
}
