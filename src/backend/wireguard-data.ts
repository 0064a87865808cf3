import { parsePublicKey } from '#src/backend/wireguard-key.ts';
import { fieldOf, isJsonObject } from '#src/network/go-json.ts';
import type { Json } from '#src/network/lease.ts';

/** What a node publishes of one device: `{"PublicKey":"…","Port":51820}`, in this order. */
export interface WireguardData {
  readonly publicKey: string;
  /** UDP; absent in leases of older flannels. */
  readonly port?: number;
}

/** `BackendData` or `BackendV6Data`, byte for byte as flannel HEAD writes it. */
export const wireguardData = ({ publicKey, port }: Required<WireguardData>): Json => ({
  PublicKey: publicKey,
  Port: port,
});

/** Reads one as Go reads it: names in any case. A text says why it can't be used. */
export function readWireguardData(data: Json | undefined, field: string): WireguardData | string {
  if (!isJsonObject(data)) return `it has no ${field}`;
  const [key, port] = [fieldOf(data, 'PublicKey'), fieldOf(data, 'Port')];
  const publicKey = typeof key === 'string' ? parsePublicKey(key) : undefined;
  if (publicKey === undefined) return `its ${field} has no readable PublicKey`;
  // In Go, 0 and an absent field are the same.
  if (port === undefined || port === null || port === 0) return { publicKey };
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535)
    return `its ${field} has no readable Port`;
  return { publicKey, port };
}
