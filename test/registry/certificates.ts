import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Certificates {
  readonly ca: string;
  /** An authority that signed nothing here. */
  readonly strangeCa: string;
  readonly server: { readonly cert: string; readonly key: string };
  readonly client: { readonly cert: string; readonly key: string };
  remove(): Promise<void>;
}

/** An authority, a server's certificate for 127.0.0.1, a client's, and a strange authority, in a folder of their own. */
export async function makeCertificates(): Promise<Certificates> {
  const folder = await mkdtemp(join(tmpdir(), 'weft-tls-'));
  const path = (name: string) => join(folder, name);
  const openssl = (...args: readonly string[]) => run('openssl', [...args]);
  const authority = async (name: string) => {
    const [cert, key] = [path(`${name}.pem`), path(`${name}.key`)];
    const subject = ['-subj', `/CN=${name}`, '-days', '2', '-nodes', '-newkey', 'rsa:2048'];
    await openssl('req', '-x509', ...subject, '-keyout', key, '-out', cert);
    return { cert, key };
  };
  const ca = await authority('ca');
  const sign = async (name: string, extensions: string) => {
    const [cert, key, request, extra] = ['pem', 'key', 'csr', 'ext'].map((end) => path(`${name}.${end}`)) as [
      string,
      string,
      string,
      string,
    ];
    await openssl(
      'req',
      '-new',
      '-nodes',
      '-newkey',
      'rsa:2048',
      '-subj',
      `/CN=${name}`,
      '-keyout',
      key,
      '-out',
      request,
    );
    await writeFile(extra, extensions);
    const signing = ['-CA', ca.cert, '-CAkey', ca.key, '-CAcreateserial', '-days', '2', '-extfile', extra];
    await openssl('x509', '-req', '-in', request, '-out', cert, ...signing);
    return { cert, key };
  };
  return {
    ca: ca.cert,
    strangeCa: (await authority('strange')).cert,
    server: await sign('server', 'subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n'),
    client: await sign('client', 'extendedKeyUsage=clientAuth\n'),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}
