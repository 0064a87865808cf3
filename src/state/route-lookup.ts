import type { Ip } from '#src/lib/ip.ts';

/** The kernel's way to an address, as `ip route get IP` prints it. */
export interface RouteLookup {
  readonly device: string;
  readonly source?: Ip;
  readonly via?: Ip;
}
