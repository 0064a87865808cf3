/**
 * Where a packet from the patient's container to that of the second host stops, or its answer does, by the fault of the table
 * (fault-table.ts). With the others it comes through: they concern other peers, larger packets, or the future.
 */
export const FAULT_HOPS: Readonly<Record<string, string>> = {
  'device-forwarding-off': 'there h1 forwarding',
  'iptables-drops': 'there h1 forward-filter',
  'legacy-drops': 'there h1 forward-filter',
  'nftables-drops': 'back h1 arrival-filter',
  'firewalld-drops': 'back h1 arrival-filter',
  'tunnel-blocked-in': 'back h1 input-filter',
  'tunnel-blocked-out': 'there h1 output-filter',
  'rule-takes-range': 'there h1 route',
  'route-shadowed': 'there h1 route',
  'bridge-down': 'there h1 bridge',
  'port-down': 'there h1 bridge',
  'tunnel-silent': 'there h2 input-filter',
  'peer-down': 'back h2 underlay',
  'ip-forward-off': 'there h1 forwarding',
  'route-missing': 'there h1 route',
  'neighbour-missing': 'there h1 neighbour',
  'fdb-missing': 'there h1 fdb',
  'forward-policy': 'there h1 forward-filter',
  'rules-missing': 'there h1 forward-filter',
  'vtep-mac': 'there h1 device',
  'vtep-address': 'there h1 route',
  'device-down': 'there h1 route',
  'device-missing': 'there h1 route',
  'device-conflict': 'there h1 route',
  'port-taken': 'there h1 route',
  'device-settings': 'there h1 route',
  'rp-filter': 'back h1 input-filter',
};
