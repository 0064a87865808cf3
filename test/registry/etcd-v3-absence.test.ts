import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { silentLogger } from '#src/lib/log.ts';
import { parseEndpoints } from '#src/registry/endpoints.ts';
import { isAbsentFromV3 } from '#src/registry/etcd-v3-absence.ts';
import { openRegistry } from '#src/registry/open-registry.ts';
import { readTls, type TlsFiles } from '#src/registry/tls.ts';
import { type Clock, systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { EtcdServer, type EtcdServerOptions } from '../support/etcd-server.ts';
import { type Certificates, makeCertificates } from './certificates.ts';

const PREFIX = '/absence/network';
const KEY = `${PREFIX}/config`;
const CONFIG = '{"Network":"10.0.0.0/16"}';

let certificates: Certificates;
before(async () => {
  certificates = await makeCertificates();
});
after(() => certificates.remove());

/** With a deadline that no machine is too slow for: a late no is none. */
const patientClock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(30 * ms, signal),
};

const isAbsent = async (url: string, files: TlsFiles = {}) =>
  isAbsentFromV3(
    { clock: patientClock },
    {
      endpoints: parseEndpoints(url, { tls: false }),
      tls: await readTls({ files: systemFiles }, files),
    },
    KEY,
    AbortSignal.timeout(60_000),
  );

/** What `auto` takes. */
async function chosen(url: string, user: { username?: string; password?: string } = {}) {
  const { registry, config } = await openRegistry(
    { clock: systemClock, random: () => 0, logger: silentLogger, files: systemFiles },
    { endpoints: url, prefix: PREFIX, api: 'auto', tls: {}, ...user },
    AbortSignal.timeout(60_000),
  );
  assert.equal(config, CONFIG);
  await registry.close();
  return registry.api;
}

async function withEtcd(options: EtcdServerOptions, look: (server: EtcdServer) => Promise<void>) {
  const server = await EtcdServer.start(options);
  try {
    await look(server);
  } finally {
    await server.stop();
  }
}

test('etcd says no until the key is there; auto takes the store that has the config', async () => {
  await withEtcd({}, async (server) => {
    await server.ctl2('set', KEY, CONFIG);
    assert.equal(await isAbsent(server.url), true);
    assert.equal(await chosen(server.url), 'v2');
    await server.ctl('put', KEY, CONFIG);
    assert.equal(await isAbsent(server.url), false);
    assert.equal(await chosen(server.url), 'v3');
    await server.ctl2('rm', KEY);
    assert.equal(await chosen(server.url), 'v3');
  });
});

test('without its JSON gateway nothing is said, and auto finds the config in either store', async () => {
  await withEtcd({ args: ['--enable-grpc-gateway=false'] }, async (server) => {
    await server.ctl2('set', KEY, CONFIG);
    assert.equal(await isAbsent(server.url), false);
    assert.equal(await chosen(server.url), 'v2');
    await server.ctl('put', KEY, CONFIG);
    assert.equal(await chosen(server.url), 'v3');
  });
});

test('without etcd v2 the config is found in v3', async () => {
  await withEtcd({ args: ['--enable-v2=false'] }, async (server) => {
    assert.equal(await isAbsent(server.url), true);
    await server.ctl('put', KEY, CONFIG);
    assert.equal(await chosen(server.url), 'v3');
  });
});

test('a cluster that wants a user says nothing to nobody', async () => {
  const user = { username: 'root', password: 'open sesame' };
  await withEtcd({}, async (server) => {
    await server.ctl2('set', KEY, CONFIG);
    await server.ctl('user', 'add', `root:${user.password}`);
    await server.ctl('user', 'grant-role', 'root', 'root');
    await server.ctl('auth', 'enable');
    assert.equal(await isAbsent(server.url), false);
    assert.equal(await chosen(server.url, user), 'v2');
    await server.ctl(`--user=root:${user.password}`, 'put', KEY, CONFIG);
    assert.equal(await isAbsent(server.url), false);
    assert.equal(await chosen(server.url, user), 'v3');
  });
});

test('over TLS it is asked with the certificates; a server that it should not trust gets nothing', async () => {
  const { ca, server: own, client, strangeCa } = certificates;
  const options = {
    scheme: 'https' as const,
    args: [
      ...[`--cert-file=${own.cert}`, `--key-file=${own.key}`],
      ...['--client-cert-auth', `--trusted-ca-file=${ca}`],
    ],
    ctlArgs: [`--cacert=${ca}`, `--cert=${client.cert}`, `--key=${client.key}`],
  };
  await withEtcd(options, async (server) => {
    const pair = { certFile: client.cert, keyFile: client.key };
    assert.equal(await isAbsent(server.url, { caFile: ca, ...pair }), true);
    assert.equal(await isAbsent(server.url, { caFile: ca }), false);
    assert.equal(await isAbsent(server.url, { caFile: strangeCa, ...pair }), false);
  });
});
