import type { Duplex } from 'node:stream';
import { checkServerIdentity, connect, getCACertificates } from 'node:tls';
import type { StreamTarget, StreamTls } from '#src/sys/stream-socket.ts';

/** The authorities that Node and the system trust, as PEM: what Go trusts where no other is given. */
export const trustedAuthorities = (): string =>
  [...getCACertificates('default'), ...getCACertificates('system')].join('\n');

/** Connects over TLS. It emits `secureConnect`. To be imported when there is such a server: what comes with node:tls is much. */
export function connectSecurely(
  { host, port }: Pick<StreamTarget, 'host' | 'port'>,
  { ca, cert, key, protocol }: StreamTls,
): Duplex {
  const socket = connect({
    ...{ host, port, ca: ca ?? trustedAuthorities(), ALPNProtocols: [protocol] },
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    // The address that was asked for, also where it is an IP address, which is no server name of TLS.
    checkServerIdentity: (_name, certificate) => checkServerIdentity(host, certificate),
  });
  return socket.setNoDelay(true);
}
