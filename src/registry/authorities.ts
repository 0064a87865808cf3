import { getCACertificates } from 'node:tls';
import type { TlsMaterial } from '#src/registry/tls.ts';

/** Whom to trust: the given authority alone or, as Go does, those that the system trusts. */
export const authoritiesOf = ({ ca }: TlsMaterial): string =>
  ca ?? [...getCACertificates('default'), ...getCACertificates('system')].join('\n');
