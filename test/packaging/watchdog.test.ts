import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { WEFT } from '../support/flanneld.ts';
import { cannotRunSystemd, SystemdHost } from '../support/systemd-host.ts';

/*
 * flanneld.service with its watchdog, under a real systemd:
 *
 *     systemd (PID 1) ─┬─ store.service      the embedded store, with a config
 *                      └─ flanneld.service   sends WATCHDOG=1 for as long as its loop runs
 */
const skip = cannotRunSystemd();
const STORE = 'http://192.0.2.1:2379';
const CONFIG = '{"Network":"10.5.0.0/16","Backend":{"Type":"vxlan"}}';

test('systemd gets its signs of life, and starts flanneld again when its loop is blocked', {
  skip,
}, async (t) => {
  const host = await SystemdHost.start(t, {
    units: ['flanneld.service'],
    more: {
      'store.service': `[Service]\nExecStart=${WEFT} store serve --data=/var/lib/store.db --listen=192.0.2.1:2379\n`,
      // Docker's options are for a Docker that is not here.
      'flanneld.service.d/test.conf':
        '[Service]\nExecStartPost=\nWatchdogSec=5\nWatchdogSignal=SIGKILL\nRestartSec=0\n',
    },
    // The place of earlier versions.
    etc: {
      'default/flanneld': `FLANNELD_OPTIONS=--etcd-endpoints=${STORE} --iface=192.0.2.1 --docker-driver=off\n`,
    },
  });
  host.must(['systemctl', 'start', 'store']);
  const put = [WEFT, 'store', 'put', `--store=${STORE}`, '/coreos.com/network/config', CONFIG];
  await until(() => host.run(put).code === 0, {
    what: 'config in the store',
    timeoutMs: 20_000,
    intervalMs: 200,
  });
  const shown = (property: string): string =>
    host.must(['systemctl', 'show', `--property=${property}`, '--value', 'flanneld']);
  host.must(['systemctl', 'start', '--no-block', 'flanneld']);
  const untilActive = () =>
    until(() => shown('ActiveState') === 'active', { what: 'flanneld', timeoutMs: 60_000, intervalMs: 100 });
  await untilActive();
  const pid = shown('MainPID');

  const signs = new Set<string>();
  // Three are more than one period: without them it would have ended.
  await until(() => signs.add(shown('WatchdogTimestampMonotonic')).size > 3, {
    what: 'signs of life',
    timeoutMs: 40_000,
    intervalMs: 100,
  });
  assert.deepEqual([shown('MainPID'), shown('NRestarts')], [pid, '0'], host.log('flanneld.service'));

  host.must(['kill', '-STOP', pid]);
  await until(() => shown('NRestarts') === '1', { what: 'restart', timeoutMs: 40_000, intervalMs: 100 });
  await untilActive();
  assert.notEqual(shown('MainPID'), pid);
  assert.notEqual(host.must(['ip', 'link', 'show', 'flannel.1']), '', 'the device stays');
});
