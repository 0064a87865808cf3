import { formatIpv4, ipv4 } from '#src/lib/ip.ts';

/** What every benchmark's network is: room for 65,000 subnets. */
export const NETWORK_CONFIG = '{"Network":"10.0.0.0/8","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
export const PREFIX = '/bench/network';

/** Subnets below this number are left to the hosts that are measured. */
const FIRST = 1_000;
const NETWORK = 0x0a000000;
const FIRST_HOST = 0x64400000; // 100.64.0.0/10, RFC 6598

/** Key and value of peer `n`'s lease, as flannel writes them. */
export function peerLease(n: number): readonly [name: string, value: string] {
  const number = FIRST + n;
  const hex = number.toString(16).padStart(8, '0').replaceAll(/..\B/g, '$&:');
  const publicIp = formatIpv4(ipv4(FIRST_HOST + number));
  return [
    `${formatIpv4(peerSubnet(n))}-24`,
    `{"PublicIP":"${publicIp}","BackendType":"vxlan","BackendData":{"VtepMAC":"0a:00:${hex}"}}`,
  ];
}

export const peerSubnet = (n: number) => ipv4(NETWORK + (FIRST + n) * 256);

export function* peerLeases(from: number, to: number): Generator<readonly [name: string, value: string]> {
  for (let n = from; n < to; n++) yield peerLease(n);
}
