import { formatIp, type Ip, isIpv4 } from '#src/lib/ip.ts';

/** An address and a UDP port. */
export interface Endpoint {
  readonly ip: Ip;
  readonly port: number;
}

/** `192.0.2.1:51820`, `[2001:db8::1]:51820` */
export const formatEndpoint = ({ ip, port }: Endpoint): string =>
  isIpv4(ip) ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`;

export const equalEndpoints = (a: Endpoint | undefined, b: Endpoint | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.ip === b.ip && a.port === b.port);
