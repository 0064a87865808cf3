import type { DumpQuery } from '#src/kernel/kernel.ts';
import type { Actuator } from '#src/reconcile/actuator.ts';
import type { KernelObject, Link } from '#src/state/object.ts';
import type { Operation, OperationResult } from '#src/state/operation.ts';

/** Applies operations of any kind in order. Those in a row that one actuator takes go to it in one call. */
export async function applyThrough(
  actuators: readonly Actuator[],
  operations: readonly Operation[],
): Promise<OperationResult[]> {
  const find = (operation: Operation | undefined) =>
    operation && actuators.find(({ kinds }) => kinds.includes(operation.object.kind));
  const results: OperationResult[] = [];
  for (let start = 0; start < operations.length; ) {
    const actuator = find(operations[start]);
    let end = start + 1;
    while (end < operations.length && find(operations[end]) === actuator) end++;
    const run = start === 0 && end === operations.length ? operations : operations.slice(start, end);
    results.push(...(actuator === undefined ? run.map(refuse) : await actuator.apply(run)));
    start = end;
  }
  return results;
}

function refuse(operation: Operation): OperationResult {
  const message = `nothing here can change a ${operation.object.kind}`;
  return { operation, done: false, error: { errno: 'EOPNOTSUPP', message } };
}

/** Asks each actuator that has one of the kinds. */
export async function scanThrough(
  actuators: readonly Actuator[],
  query: DumpQuery,
  visit: (object: KernelObject) => void,
): Promise<void> {
  for (const actuator of actuators)
    if (query.kinds.some((kind) => actuator.kinds.includes(kind))) await actuator.scan(query, visit);
}

/** All devices. */
export async function linksOf(actuators: readonly Actuator[]): Promise<readonly Link[]> {
  const links: Link[] = [];
  await scanThrough(actuators, { kinds: ['link'] }, (object) => {
    if (object.kind === 'link') links.push(object);
  });
  return links;
}

/** See {@link Actuator.muffle}. */
export async function muffle(
  actuators: readonly Actuator[],
  devices: readonly string[],
): Promise<() => void> {
  const unmuffles: (() => void)[] = [];
  for (const actuator of actuators) {
    const unmuffle = await actuator.muffle?.(devices);
    if (unmuffle !== undefined) unmuffles.push(unmuffle);
  }
  return () => {
    for (const unmuffle of unmuffles) unmuffle();
  };
}
