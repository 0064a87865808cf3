import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { selfSigned } from '../support/certificates.ts';
import { builtRelease } from '../support/release.ts';
import { scratchFolder } from '../support/scratch-folder.ts';
import { cannotRunSystemd, SystemdHost } from '../support/systemd-host.ts';
import { cannotRun } from '../support/test-lab.ts';

/*
 * weft-store.service under a real systemd, as a user that is there while it runs:
 *
 *     systemd (PID 1) ── weft-store.service    /var/lib/weft-store; 127.0.0.1:2379, later with TLS and users
 *     root                                     weft store put, export, snapshot, restore
 */
const skip = cannotRunSystemd() || cannotRun('openssl');
const DATA = '/var/lib/weft-store/store.db';

test('the store serves as its own user, comes back after kill -9, and root backs it up and restores it', {
  skip,
}, async (t) => {
  const { certFile, keyFile } = await selfSigned(scratchFolder(t), 'store');
  const host = await SystemdHost.start(t, {
    release: await builtRelease(),
    units: ['weft-store.service'],
    etc: {
      'weft/store-cert.pem': readFileSync(certFile, 'utf8'),
      'weft/store-key.pem': readFileSync(keyFile, 'utf8'),
      'weft/store-users': 'root:secret\n',
    },
  });
  // As packages and the guide make them.
  host.must(['chmod', '-R', 'go=', '/etc/weft']);
  const store = (...words: string[]) => host.run(['weft', 'store', ...words]);
  const value = (...flags: string[]): unknown => {
    host.must(['rm', '-f', '/run/export']);
    host.must(['weft', 'store', 'export', ...flags, '/run/export']);
    return host.must(['cat', '/run/export']).match(/"value":"[^"]*"/g);
  };
  const shown = (property: string): string =>
    host.must(['systemctl', 'show', `--property=${property}`, '--value', 'weft-store']);
  const ownerOf = (path: string): string => host.must(['stat', '--format=%U %a', path]);

  await t.test('it is up when systemctl returns, for this host alone', () => {
    host.must(['systemctl', 'start', 'weft-store']);
    assert.match(
      shown('StatusText'),
      /^serving \/var\/lib\/weft-store\/store\.db at http:\/\/127\.0\.0\.1:2379/,
    );
    assert.equal(store('put', '/key', 'first').code, 0);
    assert.equal((value() as string[]).length, 1);
    assert.deepEqual(
      [ownerOf('/var/lib/private/weft-store'), ownerOf(DATA)],
      ['weft-store 700', 'weft-store 600'],
    );
  });

  await t.test('after kill -9 it comes back with what it had acknowledged', async () => {
    const before = value();
    host.must(['kill', '-9', shown('MainPID')]);
    const isUp = () => shown('NRestarts') === '1' && shown('ActiveState') === 'active';
    await until(isUp, { what: 'store', timeoutMs: 20_000, intervalMs: 50 });
    assert.deepEqual(value(), before);
  });

  await t.test('root takes a snapshot while it runs, and restores it', () => {
    const before = value();
    assert.equal(store('snapshot', '/run/snapshot').code, 0);
    assert.equal(store('put', '/key', 'second').code, 0);
    assert.notDeepEqual(value(), before);
    host.must(['systemctl', 'stop', 'weft-store']);
    host.must(['sh', '-c', `mkdir /run/old && mv ${DATA}* /run/old/`]);
    assert.deepEqual(store('restore', `--data=${DATA}`, '/run/snapshot').code, 0);
    host.must(['systemctl', 'start', 'weft-store']);
    assert.deepEqual(value(), before);
    assert.equal(ownerOf(DATA), 'weft-store 600');
  });

  await t.test('one that was restored before its first start is its own too', () => {
    host.must(['systemctl', 'stop', 'weft-store']);
    host.must(['sh', '-c', 'rm -rf /var/lib/weft-store /var/lib/private/weft-store']);
    assert.equal(store('restore', `--data=${DATA}`, '/run/snapshot').code, 0);
    host.must(['systemctl', 'start', 'weft-store']);
    assert.equal((value() as string[]).length, 1);
    assert.equal(ownerOf(DATA), 'weft-store 600');
  });

  await t.test('it takes certificate, key and users from files that root alone reads', () => {
    const credential = (name: string): string => `/run/credentials/weft-store.service/${name}`;
    const settings = [
      `WEFT_STORE_CERTFILE=${credential('store-cert.pem')}`,
      `WEFT_STORE_KEYFILE=${credential('store-key.pem')}`,
      `WEFT_STORE_USER_FILE=${credential('store-users')}`,
    ];
    host.must(['sh', '-c', `printf '%s\\n' "$@" >/etc/weft/store.conf`, 'sh', ...settings]);
    host.must(['systemctl', 'restart', 'weft-store']);
    const url = '--store=https://127.0.0.1:2379';
    const authority = '--store-cafile=/etc/weft/store-cert.pem';
    const user = ['--store-username=root', '--store-password=secret'];
    assert.notEqual(store('put', url, authority, '/key', 'nobody').code, 0);
    assert.equal(store('put', url, authority, ...user, '/key', 'third').code, 0);
    assert.equal((value(url, authority, ...user) as string[]).length, 1);
    assert.match(shown('StatusText'), /https:/);
  });

  await t.test('another certificate that is not there, when it is asked for, is one line', () => {
    host.must(['rm', '/etc/weft/store-cert.pem']);
    host.must(['systemctl', 'daemon-reload']);
    assert.notEqual(host.run(['systemctl', 'restart', 'weft-store']).code, 0);
    assert.match(host.log('weft-store.service'), /store-cert\.pem/);
  });
});
