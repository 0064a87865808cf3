import { WeftError } from '#src/lib/errors.ts';
import type { Secret } from '#src/lib/secret.ts';
import type { GoObject } from '#src/network/go-json.ts';

/** The ipsec backend's part of the network config (flannel HEAD, backend/ipsec/ipsec.go). */
export interface IpsecOptions {
  /** The key that all hosts share. No default. */
  readonly key: Secret;
  /** ESP in UDP, also without a NAT between the hosts. Default false. */
  readonly udpEncap: boolean;
  /** The algorithms of the tunnel, in strongSwan's words. */
  readonly proposal: string;
}

export const DEFAULT_PROPOSAL = 'aes128gcm16-sha256-prfsha256-ecp256';
/** Bytes, as Go counts a string. */
const LEAST_KEY = 96;

/** Throws WeftError `config`, naming the field, and never the key. */
export function readIpsecOptions(options: GoObject): IpsecOptions {
  const key = options.secret('PSK');
  const length = key?.length ?? 0;
  if (key === undefined || length < LEAST_KEY)
    throw new WeftError('config', `config error, password is too short (Backend.PSK has ${length} bytes)`, {
      remedy: `"PSK" needs ${LEAST_KEY} bytes or more: openssl rand -hex 48`,
    });
  return {
    key,
    udpEncap: options.boolean('UDPEncap') ?? false,
    proposal: options.string('ESPProposal') ?? DEFAULT_PROPOSAL,
  };
}
