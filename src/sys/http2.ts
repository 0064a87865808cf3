/** The server's side of HTTP/2 on a connection that is there already, and the protocol's numbers (RFC 9113). */
export { constants as http2Numbers, performServerHandshake as acceptHttp2 } from 'node:http2';
