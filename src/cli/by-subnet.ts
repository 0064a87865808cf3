/** The order of addresses by their number, which is not that of their texts; what is no subnet comes last. */
export function bySubnet(a: Subnetted, b: Subnetted): number {
  const [first, second] = [numberOf(a), numberOf(b)];
  return first < second ? -1 : first > second ? 1 : a.lease < b.lease ? -1 : 1;
}

interface Subnetted {
  readonly lease: string;
  readonly subnet?: string;
}

function numberOf({ subnet = '' }: Subnetted): string {
  const parts = /^(\d+)\.(\d+)\.(\d+)\.(\d+)\//.exec(subnet)?.slice(1);
  return parts === undefined ? `~${subnet}` : parts.map((part) => part.padStart(3, '0')).join('');
}
