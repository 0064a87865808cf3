import { getCACertificates } from 'node:tls';
import type { TlsMaterial } from '#src/registry/tls.ts';

/** The authorities to trust: the given one alone or, as Go does, those that the system trusts. */
export const authoritiesOf = ({ ca }: TlsMaterial): string =>
  ca ?? [...getCACertificates('default'), ...getCACertificates('system')].join('\n');
