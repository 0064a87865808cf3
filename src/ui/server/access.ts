import { timingSafeEqual } from 'node:crypto';
import { isIP } from 'node:net';

/** What of a request says who asks. */
export interface Asker {
  readonly host: string | undefined;
  readonly cookie: string | undefined;
  /** `Sec-Fetch-Site`: whose page makes the request. Browsers send it, and pages can't change it. */
  readonly fetchSite: string | undefined;
  /** The value of `?token=`. */
  readonly token: string | undefined;
}

export type Verdict =
  | { readonly kind: 'welcome' }
  /** The token was in the address: it goes into a cookie, and the browser is sent on to an address without it. */
  | { readonly kind: 'token-given'; readonly cookie: string }
  | { readonly kind: 'refused'; readonly status: 401 | 403 | 421; readonly why: string };

/**
 * Who may look. Without a token everybody who reaches the loopback address: it is for that only.
 *
 * A page of another site could have its name resolved to this address (DNS rebinding) and would then be read as ours, so a
 * request has to name an address, or localhost. A page of another site could also ask without reading the answer: it is
 * refused by `Sec-Fetch-Site`, because a trace costs something.
 */
export class Access {
  readonly #token: string | undefined;
  readonly #cookieName: string;

  /** The port is in the cookie's name: cookies are not kept apart by port (RFC 6265, 8.5). */
  constructor(token: string | undefined, port: number) {
    this.#token = token;
    this.#cookieName = `weft-ui-${port}`;
  }

  judge({ host, cookie, fetchSite, token }: Asker): Verdict {
    if (!namesAddress(host)) {
      const why = 'the page is asked for by a name that may be another site: use the address, or localhost';
      return { kind: 'refused', status: 421, why };
    }
    if (fetchSite === 'cross-site' || fetchSite === 'same-site') {
      return { kind: 'refused', status: 403, why: 'a page of another site asked: open the address yourself' };
    }
    if (this.#token === undefined) return { kind: 'welcome' };
    if (token !== undefined && sameSecret(token, this.#token)) {
      const attributes = 'HttpOnly; SameSite=Strict; Path=/';
      return { kind: 'token-given', cookie: `${this.#cookieName}=${this.#token}; ${attributes}` };
    }
    const given = cookieCalled(this.#cookieName, cookie);
    if (given !== undefined && sameSecret(given, this.#token)) return { kind: 'welcome' };
    const why = 'this page needs its token: open the address that "weft ui" printed when it started';
    return { kind: 'refused', status: 401, why };
  }
}

/** `127.0.0.1:8475`, `[::1]:8475`, `localhost:8475`: no name that somebody else's server of names answers. */
function namesAddress(host: string | undefined): boolean {
  if (host === undefined) return false;
  const [, bracketed, plain] = /^(?:\[([^\]]+)\]|([^:]+))(?::\d+)?$/.exec(host) ?? [];
  return isIP(bracketed ?? plain ?? '') !== 0 || plain?.toLowerCase() === 'localhost';
}

/** In constant time for secrets of one length; the length is no secret. */
function sameSecret(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function cookieCalled(name: string, header: string | undefined): string | undefined {
  const pair = header?.split(/; */).find((it) => it.startsWith(`${name}=`));
  return pair?.slice(name.length + 1);
}
