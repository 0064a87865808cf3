import { WeftError } from '#src/lib/errors.ts';

/** Where one member of the registry answers. */
export interface Endpoint {
  /** `http://10.0.0.1:2379`: for the log; never with credentials. */
  readonly url: string;
  readonly secure: boolean;
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
}

/**
 * Reads `--etcd-endpoints`, or another flag of its kind. Blanks around a comma are forgiven (flannel does not trim). A
 * URL without a port has its scheme's (80, 443), as in flannel v0.9.1; `host:port` without a scheme is taken as flannel
 * HEAD takes it: TLS if TLS files were given.
 *
 * @throws {WeftError} with the URL that is wrong and why, without any password in it
 */
export function parseEndpoints(
  text: string,
  { tls, flag = '--etcd-endpoints' }: { readonly tls: boolean; readonly flag?: string },
): readonly Endpoint[] {
  const endpoints = text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
    .map((part) => parseEndpoint(part, tls, flag));
  if (endpoints.length === 0) {
    throw badEndpoint(`${flag} is empty`);
  }
  return [...new Map(endpoints.map((endpoint) => [endpoint.url, endpoint])).values()];
}

function parseEndpoint(text: string, tls: boolean, flag: string): Endpoint {
  const hasScheme = text.includes('://');
  const shown = text.replace(/\/\/[^/]*@/, '//…@');
  let url: URL;
  try {
    url = new URL(hasScheme ? text : `${tls ? 'https' : 'http'}://${text}`);
  } catch {
    throw badEndpoint(`${flag}: ${JSON.stringify(shown)} is not a URL`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw badEndpoint(`${flag}: ${JSON.stringify(shown)} is neither http nor https`);
  }
  if (url.username !== '' || url.password !== '') {
    throw badEndpoint(
      `${flag}: ${JSON.stringify(shown)} carries credentials`,
      'give them with the flags for user and password',
    );
  }
  if ((url.pathname !== '/' && url.pathname !== '') || url.search !== '' || url.hash !== '') {
    throw badEndpoint(`${flag}: ${JSON.stringify(shown)} has more than a host and a port`);
  }
  const secure = url.protocol === 'https:';
  const port = url.port === '' ? (secure ? 443 : 80) : Number(url.port);
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1');
  return { url: `${url.protocol}//${url.hostname}:${port}`, secure, host, port };
}

function badEndpoint(message: string, remedy = 'write for example http://10.0.0.1:2379'): WeftError {
  return new WeftError('etcd-endpoints', message, { remedy });
}

/**
 * The endpoints in the order in which they are tried: the one that answered last stays first, one that failed hands
 * over to the next. The first is drawn by lot, so that many hosts with one list spread over the members.
 */
export class EndpointRing {
  readonly endpoints: readonly Endpoint[];
  #current: number;

  constructor(endpoints: readonly Endpoint[], random: () => number) {
    this.endpoints = endpoints;
    this.#current = Math.floor(random() * endpoints.length);
  }

  get size(): number {
    return this.endpoints.length;
  }

  get current(): Endpoint {
    const endpoint = this.endpoints[this.#current];
    if (endpoint === undefined) throw new RangeError('no endpoints');
    return endpoint;
  }

  /** Hands over to the next, unless another call did so already. */
  failed(endpoint: Endpoint): void {
    if (endpoint === this.current) this.#current = (this.#current + 1) % this.endpoints.length;
  }

  toString(): string {
    return this.endpoints.map((endpoint) => endpoint.url).join(',');
  }
}
