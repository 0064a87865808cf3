/**
 * A real etcd, and two hosts that are played on it over one connection.
 *
 *     played hosts 0 and 1 ── 127.0.0.1 ── etcd
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { watchPatience } from '#src/registry/etcd-v3-options.ts';
import { until } from '#src/sys/until.ts';
import { EtcdServer } from '../../test/support/etcd-server.ts';
import { PREFIX, peerLease } from '../leases.ts';
import { ConnectionPool } from './connection-pool.ts';
import { PlayedHost } from './played-host.ts';
import type { Tally } from './played-watch.ts';
import { Wheel } from './wheel.ts';

test('a played host holds a lease, hears of others, asks for signs of life, renews, and is back after a restart', async () => {
  const etcd = await EtcdServer.start();
  const { hostname, port } = new URL(etcd.url);
  const tally: Tally = { asked: 0, late: 0, longestMs: 0, heard: 0, open: 0 };
  const patience = watchPatience({});
  const wheel = new Wheel();
  const pool = new ConnectionPool([{ host: hostname, port: Number(port) }], 1);
  try {
    const [one, two] = [0, 1].map((n) => new PlayedHost(n, { pool, wheel, tally, hosts: 2, patience }));
    assert.ok(one && two);
    const revision = await one.take(60);
    await one.watch(revision);
    await until(() => one.isWatching, { what: 'watches' });
    assert.equal(tally.open, 2);
    await two.take(60, 1_024);
    await until(() => tally.heard === 1, { what: 'event of the second lease' });
    const [name, value] = peerLease(0);
    assert.equal(await etcd.ctl('get', '--print-value-only', `${PREFIX}/subnets/${name}`), `${value}\n`);
    assert.equal(
      (await etcd.ctl('get', '--print-value-only', `${PREFIX}/subnets/${peerLease(1)[0]}`)).length,
      1_025,
    );
    assert.equal(await two.list(), 2);
    await assert.rejects(
      new PlayedHost(0, { pool, wheel, tally, hosts: 2, patience }).take(60),
      /is there already/,
    );
    await until(() => tally.asked >= 2 && tally.longestMs > 0, { what: 'answers to questions' });
    assert.equal(tally.late, 0);
    await one.renew();
    await etcd.kill();
    await until(() => !one.isWatching, { what: 'end of the watches' });
    await etcd.launch();
    await until(() => one.isWatching && tally.open === 2, { what: 'watches again', timeoutMs: 20_000 });
    await etcd.ctl('del', `${PREFIX}/subnets/${peerLease(1)[0]}`);
    await until(() => tally.heard === 2, { what: 'event after the restart' });
    await one.die();
    assert.equal(tally.open, 0);
  } finally {
    wheel.stop();
    await pool.close();
    await etcd.stop();
  }
});
