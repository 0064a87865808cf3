import type { Backend, BackendKind } from '#src/backend/backend.ts';

/**
 * flannel's alloc backend (v0.9.1 and HEAD, backend/alloc): a lease and subnet.env, and no packets. Something else, such as
 * a provider's router, carries them between the hosts. It has no options.
 */
export const alloc: BackendKind = {
  type: 'alloc',
  prepare: ({ instance }) => ({
    type: 'alloc',
    instance,
    devices: [],
    settings: {},
    inPlace: [],
    requirements: [],
    check: () => [],
    make: ({ mtu }): Backend => ({
      type: 'alloc',
      devices: [],
      mtu,
      needsLookup: false,
      // flannel writes no BackendType.
      published: { backendType: '' },
      shared: {},
      inbound: { devices: [], underlay: true },
      scopes: [],
      probing: undefined,
      ownObjects: () => [],
      peerObjects: () => [],
      // Nothing is done with a peer's lease, so any will do.
      judge: () => undefined,
    }),
  }),
  leftovers: () => [],
};
