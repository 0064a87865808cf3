import type { FlagTable } from '#src/lib/go-flags.ts';

/** Where the page is served, on a host and in a lab. */
export const UI_FLAGS = {
  listen: {
    kind: 'string',
    default: '127.0.0.1:8475',
    environment: false,
    description: '`address:port` of the page; port 0 lets the kernel choose',
    check: (text: string) =>
      parseListen(text) === undefined ? 'must be an IP address and a port' : undefined,
  },
  token: {
    kind: 'string',
    default: '',
    environment: false,
    description:
      'the `secret` that a browser has to bring; on another address than a loopback one it is made and printed when none is given',
    check: (text: string) =>
      /^[A-Za-z0-9_-]{16,128}$/.test(text) ? undefined : 'must be 16 to 128 letters, digits, - and _',
  },
} as const satisfies FlagTable;

/** `127.0.0.1:8475`, `[::1]:8475`. */
export function parseListen(text: string): { readonly address: string; readonly port: number } | undefined {
  const [, bracketed, plain, digits] =
    /^(?:\[([0-9a-fA-F:.]+)\]|(\d+\.\d+\.\d+\.\d+)):(\d{1,5})$/.exec(text) ?? [];
  const address = bracketed ?? plain;
  const port = Number(digits);
  return address === undefined || !(port <= 65_535) ? undefined : { address, port };
}
