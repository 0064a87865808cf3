import { addressRequest } from '#src/kernel/addresses.ts';
import type { DeviceNames } from '#src/kernel/device-names.ts';
import { fdbRequest } from '#src/kernel/fdb.ts';
import { linkAdd, linkRemove, linkSet } from '#src/kernel/links.ts';
import type { Request } from '#src/kernel/message.ts';
import { neighbourRequest } from '#src/kernel/neighbours.ts';
import { routeRequest } from '#src/kernel/routes.ts';
import type { KernelError, Operation } from '#src/state/operation.ts';

/** The operation as a message, or why there is none. */
export function requestOf(
  operation: Operation,
  names: DeviceNames,
): { readonly request: Request } | { readonly error: KernelError } {
  const request = encode(operation, names);
  if (request === 'unsupported') {
    const { verb, object } = operation;
    return { error: { errno: 'EOPNOTSUPP', message: `a ${object.kind} has no ${verb}` } };
  }
  return request === undefined ? { error: noDevice(operation) } : { request };
}

function encode({ verb, object }: Operation, names: DeviceNames): Request | 'unsupported' | undefined {
  if (object.kind === 'link') {
    if (verb === 'add') return linkAdd(object, names);
    if (verb === 'set') return linkSet(object);
    return verb === 'remove' ? linkRemove(object) : 'unsupported';
  }
  if (verb === 'set') return 'unsupported';
  switch (object.kind) {
    case 'address':
      return addressRequest(verb, object, names);
    case 'route':
      return routeRequest(verb, object, names);
    case 'neighbour':
      return neighbourRequest(verb, object, names);
    case 'fdb':
      return fdbRequest(verb, object, names);
  }
}

function noDevice({ object }: Operation): KernelError {
  const name = object.kind === 'link' ? object.vxlan?.underlay : object.device;
  return { errno: 'ENODEV', message: `there is no device ${name}` };
}
