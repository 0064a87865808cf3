/** What is found when packets to and from peers don't pass, whatever the cause. */
export const REACH = ['peer-down', 'tunnel-silent', 'path-mtu', 'tcp-lost'] as const;

/** What is found when the overlay's device is not as it should be. */
export const DEVICE = [
  'device-down',
  'device-mtu',
  'device-settings',
  'vtep-mac',
  'vtep-address',
  'route-missing',
  'neighbour-missing',
  'fdb-missing',
] as const;

/** What is found when the registry does not answer, and leases are those of before. */
export const REGISTRY = ['lease-near-expiry', 'lease-missing', 'config-missing'] as const;
