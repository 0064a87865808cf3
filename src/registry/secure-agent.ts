import { Agent, type AgentOptions } from 'node:https';
import { authoritiesOf } from '#src/registry/authorities.ts';
import type { TlsMaterial } from '#src/registry/tls.ts';

/** Connections over TLS. To be imported when there is an https endpoint: what comes with node:https is much. */
export const secureAgent = (tls: TlsMaterial, options: Pick<AgentOptions, 'keepAlive'>): Agent =>
  new Agent({ ...options, ...tls, ca: authoritiesOf(tls) });
