import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { after, before, describe, test } from 'node:test';
import { known } from '#src/diagnose/facts/fact.ts';
import { readRegistry } from '#src/diagnose/facts/registry.ts';
import { messageOf, WeftError } from '#src/lib/errors.ts';
import { RegistryError } from '#src/registry/errors.ts';
import { readTls, type TlsFiles } from '#src/registry/tls.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { askHttp } from '#src/sys/http-question.ts';
import { systemRandom } from '#src/sys/random.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { type Certificates, makeCertificates } from './certificates.ts';
import { watchFor, written } from './compliance.ts';
import { APIS, type Api, openEtcd, PREFIX } from './open-etcd.ts';

const patience = () => AbortSignal.timeout(60_000);
const material = (files: TlsFiles) => readTls({ files: systemFiles }, files);

async function complaintOf(call: Promise<unknown>): Promise<WeftError> {
  const error = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof WeftError, `expected a WeftError, got ${error}`);
  assert.doesNotMatch(messageOf(error), /\n/);
  return error;
}

async function refusalOf(call: Promise<unknown>): Promise<RegistryError> {
  const error = await complaintOf(call);
  assert.ok(error instanceof RegistryError);
  return error;
}

async function watchFirst(api: Api, url: string, options: Parameters<typeof openEtcd>[2]) {
  const registry = openEtcd(api, url, options);
  try {
    for await (const _ of registry.watch(1n, patience())) return;
  } finally {
    await registry.close();
  }
}

describe('TLS', () => {
  let certificates: Certificates;
  let open: EtcdServer;
  let guarded: EtcdServer;
  before(async () => {
    certificates = await makeCertificates();
    const { ca, server, client } = certificates;
    const args = [`--cert-file=${server.cert}`, `--key-file=${server.key}`];
    open = await EtcdServer.start({ scheme: 'https', args, ctlArgs: [`--cacert=${ca}`] });
    guarded = await EtcdServer.start({
      scheme: 'https',
      args: [...args, '--client-cert-auth', `--trusted-ca-file=${ca}`],
      ctlArgs: [`--cacert=${ca}`, `--cert=${client.cert}`, `--key=${client.key}`],
    });
  });
  after(async () => {
    await open.stop();
    await guarded.stop();
    await certificates.remove();
  });

  test('doctor says which side speaks TLS, and the other does not', async () => {
    const plain = await EtcdServer.start();
    try {
      const other = ({ url }: EtcdServer): string =>
        url.startsWith('https:') ? url.replace('https:', 'http:') : url.replace('http:', 'https:');
      const said = async (endpoints: string): Promise<string | undefined> => {
        const components = { clock: systemClock, files: systemFiles, random: systemRandom, ask: askHttp };
        const options = { endpoints, prefix: PREFIX, api: 'auto', tls: {} } as const;
        return known(await readRegistry(components, options, undefined, patience())).endpoints[0]?.why;
      };
      assert.match((await said(other(plain))) ?? '', /the server answers without TLS/);
      for (const server of [open, guarded])
        assert.match((await said(other(server))) ?? '', /with TLS alone; its address may be https/);
      assert.equal(await said(plain.url), undefined);
    } finally {
      await plain.stop();
    }
  });

  for (const api of APIS) {
    const list = async (url: string, files: TlsFiles) => {
      const registry = openEtcd(api, url, { tls: await material(files) });
      try {
        return await registry.list(patience());
      } finally {
        await registry.close();
      }
    };

    test(`${api}: a CA alone is enough where the server asks for no certificate`, async () => {
      const tls = await material({ caFile: certificates.ca });
      const registry = openEtcd(api, open.url, { tls });
      const record = written(await registry.create('10.1.0.0-24', 'x', 60, patience()));
      const seen = await watchFor(registry, record.revision - 1n, patience(), (events) => events.length > 0);
      assert.equal(seen.length, 1);
      await registry.close();
    });

    test(`${api}: a client certificate opens the door that a CA alone does not`, async () => {
      const { ca: caFile, client } = certificates;
      const refused = await refusalOf(list(guarded.url, { caFile }));
      assert.ok(['tls', 'unreachable'].includes(refused.reason), refused.message);
      const files = { caFile, certFile: client.cert, keyFile: client.key };
      assert.deepEqual((await list(guarded.url, files)).records, []);
    });

    test(`${api}: a wrong CA, or none, is reported as such`, async () => {
      for (const files of [{ caFile: certificates.strangeCa }, {}]) {
        const error = await refusalOf(list(open.url, files));
        assert.equal(error.reason, 'tls');
        assert.match(
          messageOf(error),
          /^cannot list the leases: https:\/\/127.0.0.1:\d+: TLS: .*certificate.*; check --etcd-cafile/,
        );
        assert.equal(
          (await refusalOf(watchFirst(api, open.url, { tls: await material(files) }))).reason,
          'tls',
        );
      }
    });

    test(`${api}: http to a port that wants https is one clear line`, async () => {
      const error = await refusalOf(list(open.url.replace('https', 'http'), {}));
      assert.match(error.message, /^cannot list the leases: http:\/\/127.0.0.1:\d+: \S/);
    });
  }

  test('a file that is missing, unreadable, no certificate, or of another pair is named', async () => {
    const { ca, server, client } = certificates;
    const text = async (files: TlsFiles) => messageOf(await complaintOf(material(files)));
    assert.equal(
      await text({ caFile: '/nonexistent/ca.pem' }),
      'cannot read --etcd-cafile /nonexistent/ca.pem: no such file',
    );
    assert.match(await text({ caFile: '/' }), /^cannot read --etcd-cafile \/: EISDIR/);
    await writeFile(`${ca}.junk`, 'junk');
    assert.match(await text({ caFile: `${ca}.junk` }), /^--etcd-cafile .*junk holds no certificate: /);
    const pair = { certFile: client.cert, keyFile: client.key };
    assert.match(
      await text({ ...pair, certFile: `${ca}.junk` }),
      /^--etcd-certfile .* holds no certificate: /,
    );
    assert.match(
      await text({ ...pair, keyFile: client.cert }),
      /^--etcd-keyfile .* holds no usable private key: /,
    );
    assert.match(
      await text({ ...pair, keyFile: server.key }),
      /^--etcd-keyfile .* is not the key of --etcd-certfile /,
    );
    assert.equal(
      await text({ certFile: client.cert }),
      '--etcd-certfile is given without --etcd-keyfile; give both, or neither',
    );
    assert.deepEqual(await material({ caFile: '', certFile: '', keyFile: '' }), {});
  });
});

describe('user and password', () => {
  const SECRET = 'open sesame';
  const root = { username: 'root', password: SECRET };
  const nobody = { username: 'nobody', password: SECRET };
  const liar = { username: 'root', password: 'wrong guess' };

  for (const api of APIS) {
    describe(api, () => {
      let server: EtcdServer;
      before(async () => {
        server = await EtcdServer.start();
        if (api === 'v3') {
          await server.ctl('user', 'add', `root:${SECRET}`);
          await server.ctl('user', 'grant-role', 'root', 'root');
          await server.ctl('user', 'add', `nobody:${SECRET}`);
          await server.ctl('auth', 'enable');
        } else {
          await server.ctl2('user', 'add', `root:${SECRET}`);
          await server.ctl2('user', 'add', `nobody:${SECRET}`);
          await server.ctl2('auth', 'enable');
          await server.ctl2(
            '--username',
            `root:${SECRET}`,
            'role',
            'revoke',
            'guest',
            '--path=/*',
            '--readwrite',
          );
        }
      });
      after(async () => {
        await server.stop();
      });
      const list = async (options: Parameters<typeof openEtcd>[2]) => {
        const registry = openEtcd(api, server.url, options);
        try {
          return await registry.list(patience());
        } finally {
          await registry.close();
        }
      };

      test('the right password lets one write, list and watch', async () => {
        const registry = openEtcd(api, server.url, { auth: root });
        const record = written(await registry.create('10.1.0.0-24', 'x', 60, patience()));
        const seen = await watchFor(
          registry,
          record.revision - 1n,
          patience(),
          (events) => events.length > 0,
        );
        assert.equal(seen.length, 1);
        await registry.close();
      });

      test('a wrong password is reported, and never shown', async () => {
        for (const error of [
          await refusalOf(list({ auth: liar })),
          await refusalOf(watchFirst(api, server.url, { auth: liar })),
        ]) {
          assert.equal(error.reason, 'unauthenticated');
          assert.match(messageOf(error), /; check --etcd-username and --etcd-password$/);
          assert.doesNotMatch(messageOf(error), /wrong guess/);
        }
        assert.doesNotMatch(openEtcd(api, server.url, { auth: liar }).description, /wrong guess/);
      });

      test('a missing password is reported', async () => {
        for (const error of [await refusalOf(list({})), await refusalOf(watchFirst(api, server.url, {}))]) {
          assert.equal(error.reason, 'unauthenticated');
        }
      });

      // As docs/guides/security.md has them.
      test('a host needs to write leases, and to read the config', {
        skip: api === 'v2' && 'the guide has etcd v3’s roles',
      }, async () => {
        const asRoot = (...words: string[]) => server.ctl('--user', `root:${SECRET}`, ...words);
        await asRoot('role', 'add', 'weft-host');
        await asRoot('role', 'grant-permission', 'weft-host', 'read', `${PREFIX}/config`);
        const leases = ['readwrite', '--prefix=true', `${PREFIX}/subnets/`];
        await asRoot('role', 'grant-permission', 'weft-host', ...leases);
        await asRoot('user', 'add', `host:${SECRET}`);
        await asRoot('user', 'grant-role', 'host', 'weft-host');
        await asRoot('put', `${PREFIX}/config`, '{"Network":"10.1.0.0/16"}');
        const registry = openEtcd(api, server.url, { auth: { username: 'host', password: SECRET } });
        try {
          assert.equal(await registry.readConfig(patience()), '{"Network":"10.1.0.0/16"}');
          for await (const config of registry.watchConfig(patience())) {
            assert.equal(config, '{"Network":"10.1.0.0/16"}');
            break;
          }
          const record = written(await registry.create('10.1.7.0-24', 'x', 60, patience()));
          assert.ok(await registry.renew(record, 60, patience()));
          const again = written(await registry.replace(record, 'y', 60, patience()));
          assert.ok((await registry.list(patience())).records.some(({ value }) => value === 'y'));
          const seen = await watchFor(
            registry,
            record.revision - 1n,
            patience(),
            (events) => events.length > 1,
          );
          assert.equal(seen.length, 2);
          assert.ok(await registry.remove(again, patience()));
        } finally {
          await registry.close();
        }
        const asHost = ['--user', `host:${SECRET}`, 'put', `${PREFIX}/config`, '{}'];
        await assert.rejects(server.ctl(...asHost), /permission denied/);
      });

      test('a user without the right to read is reported', async () => {
        for (const error of [
          await refusalOf(list({ auth: nobody })),
          await refusalOf(watchFirst(api, server.url, { auth: nobody })),
        ]) {
          // v2 has one answer for a wrong password and a missing right.
          assert.equal(error.reason, api === 'v3' ? 'denied' : 'unauthenticated');
        }
      });

      test('a server that has forgotten the token is given a new one, by calls and by watches', async () => {
        const registry = openEtcd(api, server.url, { auth: root });
        const { revision } = await registry.list(patience());
        const watcher = openEtcd(api, server.url, { auth: root });
        await watcher.list(patience());
        await server.kill();
        await server.launch();
        for await (const _ of watcher.watch(revision, patience())) break;
        await registry.list(patience());
        await registry.close();
        await watcher.close();
      });
    });
  }

  test('v3: a user is given and the cluster asks for none', async () => {
    const server = await EtcdServer.start();
    const registry = openEtcd('v3', server.url, { auth: root });
    assert.deepEqual((await registry.list(patience())).records, []);
    await registry.close();
    await server.stop();
  });
});
