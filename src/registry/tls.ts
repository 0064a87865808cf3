import { messageOf, WeftError } from '#src/lib/errors.ts';
import type { Files } from '#src/sys/files.ts';

/** Paths as the flags give them; empty means not given. A CA alone is enough, as in flannel v0.9.1. */
export interface TlsFiles {
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
}

/** PEM texts that belong together. */
export interface TlsMaterial {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

/** Whether any TLS file was asked for. */
export const wantsTls = (files: TlsFiles): boolean =>
  Boolean(files.caFile || files.certFile || files.keyFile);

/**
 * Reads the files and checks that they fit, so that a wrong one is reported by its name at the start and not as a
 * handshake's failure later.
 *
 * @param flags how the flags that name the files begin, for the errors
 * @throws {WeftError} naming the file
 */
export async function readTls(
  components: { readonly files: Files },
  { caFile, certFile, keyFile }: TlsFiles,
  flags = '--etcd-',
): Promise<TlsMaterial> {
  const read = (flag: string, path: string | undefined) => readPem(components.files, flag, path);
  const [ca, cert, key] = await Promise.all([
    read(`${flags}cafile`, caFile),
    read(`${flags}certfile`, certFile),
    read(`${flags}keyfile`, keyFile),
  ]);
  if (ca === undefined && cert === undefined && key === undefined) return {};
  const { createPrivateKey, X509Certificate } = await import('node:crypto');
  if (ca !== undefined) check(`${flags}cafile ${caFile} holds no certificate`, () => new X509Certificate(ca));
  if ((cert === undefined) !== (key === undefined)) {
    const [given, missing] = cert === undefined ? ['keyfile', 'certfile'] : ['certfile', 'keyfile'];
    throw badTls(`${flags}${given} is given without ${flags}${missing}`, 'give both, or neither');
  }
  if (cert === undefined || key === undefined) return ca === undefined ? {} : { ca };

  const certificate = check(
    `${flags}certfile ${certFile} holds no certificate`,
    () => new X509Certificate(cert),
  );
  const privateKey = check(`${flags}keyfile ${keyFile} holds no usable private key`, () =>
    createPrivateKey(key),
  );
  if (!certificate.checkPrivateKey(privateKey)) {
    throw badTls(`${flags}keyfile ${keyFile} is not the key of ${flags}certfile ${certFile}`);
  }
  return ca === undefined ? { cert, key } : { ca, cert, key };
}

async function readPem(files: Files, flag: string, path: string | undefined): Promise<string | undefined> {
  if (!path) return undefined;
  let text: string | undefined;
  try {
    text = await files.read(path);
  } catch (error) {
    throw badTls(`cannot read ${flag} ${path}: ${messageOf(error)}`, undefined, error);
  }
  if (text === undefined) throw badTls(`cannot read ${flag} ${path}: no such file`);
  return text;
}

function check<T>(complaint: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw badTls(`${complaint}: ${messageOf(error)}`, undefined, error);
  }
}

function badTls(message: string, remedy?: string, cause?: unknown): WeftError {
  return new WeftError('etcd-tls', message, { ...(remedy && { remedy }), cause });
}
