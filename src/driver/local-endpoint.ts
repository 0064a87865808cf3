import type { BookedEndpoint } from '#src/driver/endpoint-book.ts';
import type { LocalEndpoint } from '#src/driver/segment.ts';
import { parseIp } from '#src/lib/ip.ts';
import { type Mac, parseMac } from '#src/lib/mac.ts';

/** An endpoint as its segment needs it, from the book. */
export function localEndpoint(id: string, booked: BookedEndpoint): LocalEndpoint {
  const { mac, addresses, sandbox, device, isActive } = booked;
  return {
    id,
    mac: parseMac(mac) ?? (mac as Mac),
    addresses: addresses.flatMap((text) => parseIp(text) ?? []),
    sandbox,
    device,
    isActive,
  };
}
