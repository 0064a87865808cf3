import { absentFact, type Fact, knownFact } from '#src/diagnose/facts/fact.ts';
import { messageOf } from '#src/lib/errors.ts';
import { readTls, type TlsFiles, wantsTls } from '#src/registry/tls.ts';
import type { Files } from '#src/sys/files.ts';

/** The certificates that flanneld was given. */
export interface CertificatesSeen {
  /** Why they can't be used, one sentence without a full stop; absent where they can. */
  readonly fault?: string;
  readonly ends: readonly CertificateEnd[];
}

export interface CertificateEnd {
  readonly path: string;
  /** Milliseconds since the epoch. */
  readonly from: number;
  readonly until: number;
}

const BLOCK = /-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g;

export async function readCertificates(files: Files, tls: TlsFiles): Promise<Fact<CertificatesSeen>> {
  if (!wantsTls(tls)) return absentFact('flanneld uses no TLS files');
  try {
    const { ca, cert } = await readTls({ files }, tls);
    const ends = await Promise.all([endsIn(tls.caFile, ca), endsIn(tls.certFile, cert)]);
    return knownFact({ ends: ends.flat() });
  } catch (error) {
    return knownFact({ fault: messageOf(error), ends: [] });
  }
}

/** Of each certificate in a PEM text: an authority's file may have several. */
async function endsIn(path: string | undefined, text: string | undefined): Promise<CertificateEnd[]> {
  if (path === undefined || text === undefined) return [];
  const { X509Certificate } = await import('node:crypto');
  return (text.match(BLOCK) ?? []).map((block) => {
    const { validFrom, validTo } = new X509Certificate(block);
    return { path, from: Date.parse(validFrom), until: Date.parse(validTo) };
  });
}
