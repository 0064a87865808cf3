import { Agent, type AgentOptions } from 'node:https';
import type { TlsMaterial } from '#src/registry/tls.ts';
import { trustedAuthorities } from '#src/sys/secure-stream.ts';

/** Connections over TLS. To be imported when there is an https endpoint: what comes with node:https is much. */
export const secureAgent = (tls: TlsMaterial, options: Pick<AgentOptions, 'keepAlive'>): Agent =>
  new Agent({ ...options, ...tls, ca: tls.ca ?? trustedAuthorities() });
