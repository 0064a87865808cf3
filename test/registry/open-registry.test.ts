import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { WeftError } from '#src/lib/errors.ts';
import { type Logger, silentLogger } from '#src/lib/log.ts';
import { type OpenRegistryOptions, openRegistry } from '#src/registry/open-registry.ts';
import { systemClock } from '#src/sys/clock.ts';
import { systemFiles } from '#src/sys/files.ts';
import { until } from '#src/sys/until.ts';
import { EtcdServer } from '../support/etcd-server.ts';
import { unusedPort } from '../support/unused-port.ts';

const CONFIG = '{"Network":"10.0.0.0/16","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
const PREFIX = '/flannel-vxlan/network';
const KEY = `${PREFIX}/config`;
const LEASE = `${PREFIX}/subnets/10.0.65.0-24`;

/** Opens, with pauses a hundred times as short, and keeps what was logged. */
function opening(endpoints: string, api: OpenRegistryOptions['api'], lastConfig?: string) {
  const lines: string[] = [];
  const pauses: number[] = [];
  const logger: Logger = {
    ...silentLogger,
    info: (line) => lines.push(line),
    warning: (line) => lines.push(line),
  };
  const given = AbortSignal.timeout(60_000);
  const clock = {
    ...systemClock,
    sleep(ms: number, signal?: AbortSignal) {
      // The deadlines of calls have signals of their own, and pass at the pace of the real servers.
      if (signal !== given) return systemClock.sleep(ms, signal);
      pauses.push(ms);
      return systemClock.sleep(ms / 100, signal);
    },
  };
  const opened = openRegistry(
    { clock, logger, files: systemFiles, random: () => 0 },
    { endpoints, prefix: PREFIX, api, tls: {}, lastConfig },
    given,
  );
  const settled = async () => {
    const { registry, config } = await opened;
    assert.equal(config, CONFIG);
    await registry.close();
    return registry.api;
  };
  let ended = false;
  opened.then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  const rounds = async (count: number) => {
    await until(() => pauses.length >= count || ended, { what: `${count} rounds`, timeoutMs: 30_000 });
    assert.ok(pauses.length >= count, `it opened after ${pauses.length} rounds: ${lines.at(-1)}`);
  };
  return { opened, settled, rounds, lines, pauses };
}

describe('opening the registry', () => {
  let server: EtcdServer;
  before(async () => {
    server = await EtcdServer.start();
  });
  after(async () => {
    await server.stop();
  });
  beforeEach(async () => {
    await server.ctl('del', '--prefix', '/');
    await server.ctl2('rm', '--recursive', '/flannel-vxlan').catch(() => {});
  });

  test('auto waits for the config in either API, asks for it once, and says which it took', async () => {
    for (const api of ['v2', 'v3'] as const) {
      const { settled, rounds, lines, pauses } = opening(server.url, 'auto');
      await rounds(5);
      assert.equal(lines.length, 1);
      assert.match(
        lines[0] ?? '',
        /no key \/flannel-vxlan\/network\/config in etcd \(looked at v2 and v3\); put it/,
      );
      if (api === 'v2') await server.ctl2('set', KEY, CONFIG);
      else await server.ctl('put', KEY, CONFIG);
      assert.equal(await settled(), api);
      const there = api === 'v2' ? 'v3' : 'v2';
      assert.equal(
        lines[1],
        `using etcd ${api} at ${server.url}: the network config ${KEY} is there, not in ${there}`,
      );
      assert.deepEqual(new Set(pauses), new Set([1_000]));
      await server.ctl2('rm', KEY).catch(() => {});
    }
  });

  test('auto takes the API with live leases when both have a config, and v3 otherwise', async () => {
    await server.ctl('put', KEY, CONFIG);
    await server.ctl2('set', KEY, CONFIG);
    assert.equal(await opening(server.url, 'auto').settled(), 'v3');
    await server.ctl2('set', LEASE, '{}');
    const { settled, lines } = opening(server.url, 'auto');
    assert.equal(await settled(), 'v2');
    assert.match(lines[0] ?? '', /in both stores; v2 has 1 lease, v3 has no leases/);
    await server.ctl('put', LEASE, '{}');
    assert.equal(await opening(server.url, 'auto').settled(), 'v3');
  });

  test('P21: given one API with the config in the other, it prints the command that copies it, and that works', async () => {
    await server.ctl2('set', KEY, CONFIG);
    const { settled, rounds, lines } = opening(server.url, 'v3');
    await rounds(3);
    assert.equal(lines.length, 1);
    assert.match(lines[0] ?? '', /in etcd's v2 store, and --etcd-api=v3 looks in the v3 store/);
    const command = /ETCDCTL_API=3 .*$/.exec(lines[0] ?? '')?.[0] ?? '';
    await server.shell(command);
    assert.equal(await settled(), 'v3');
  });

  test('a config that was removed: with that of an earlier run, a registry that answers is enough', async () => {
    const last = '{"Network":"10.9.0.0/16"}';
    const open = async (api: OpenRegistryOptions['api']) => {
      const { opened, lines } = opening(server.url, api, last);
      const { registry, config, missing } = await opened;
      await registry.close();
      assert.equal(config, last);
      assert.match(missing ?? '', /there is no key \/flannel-vxlan\/network\/config in etcd/);
      assert.equal(lines.length, 1);
      assert.match(lines[0] ?? '', /; until then the last known config counts$/);
      return registry.api;
    };
    assert.equal(await open('auto'), 'v3');
    assert.equal(await open('v2'), 'v2');
    await server.ctl2('set', LEASE, '{}');
    assert.equal(await open('auto'), 'v2');
    await server.ctl('put', LEASE, '{}');
    assert.equal(await open('auto'), 'v3');
    await server.ctl('put', KEY, CONFIG);
    const { opened } = opening(server.url, 'auto', last);
    const { registry, config, missing } = await opened;
    await registry.close();
    assert.deepEqual([config, missing], [CONFIG, undefined]);
  });

  test('the config of an earlier run does not stand in for etcd, nor for a config in the other API', async () => {
    await server.ctl2('set', KEY, CONFIG);
    const elsewhere = opening(server.url, 'v3', '{}');
    await elsewhere.rounds(2);
    await server.ctl('put', KEY, CONFIG);
    assert.equal(await elsewhere.settled(), 'v3');
    await server.kill();
    const away = opening(server.url, 'auto', '{}');
    await away.rounds(3);
    await server.launch();
    assert.equal(await away.settled(), 'v3');
  });

  test('etcd that is not up yet is waited for, which is logged once', async () => {
    await server.ctl('put', KEY, CONFIG);
    await server.kill();
    const { settled, rounds, lines } = opening(server.url, 'auto');
    await rounds(5);
    assert.deepEqual(lines, [
      `cannot read the network config ${KEY}: ${server.url}: connection refused; ` +
        'check the address (http or https, host, port) and that etcd runs there',
    ]);
    await server.launch();
    assert.equal(await settled(), 'v3');
  });

  test('flannel’s default list, whose first port nobody listens on, is no reason to wait', async () => {
    await server.ctl('put', KEY, CONFIG);
    const dead = `http://127.0.0.1:${await unusedPort()}`;
    const { settled, pauses } = opening(`${dead},${server.url}`, 'auto');
    assert.equal(await settled(), 'v3');
    assert.deepEqual(pauses, []);
  });

  test('bad endpoints and TLS files end it at once', async () => {
    const components = { clock: systemClock, random: () => 0, logger: silentLogger, files: systemFiles };
    const options = { endpoints: server.url, prefix: PREFIX, api: 'auto', tls: {} } as const;
    const open = (change: Partial<OpenRegistryOptions>) =>
      openRegistry(components, { ...options, ...change }, AbortSignal.timeout(5_000));
    await assert.rejects(open({ endpoints: 'ftp://x' }), WeftError);
    await assert.rejects(open({ tls: { caFile: '/nonexistent' } }), WeftError);
  });

  test('an abort ends the wait with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('shutting down');
    const logger = { ...silentLogger, warning: () => controller.abort(reason) };
    await assert.rejects(
      openRegistry(
        { clock: systemClock, random: () => 0, logger, files: systemFiles },
        { endpoints: server.url, prefix: PREFIX, api: 'auto', tls: {} },
        controller.signal,
      ),
      reason,
    );
  });
});

test('an etcd without v2 is used over v3', async () => {
  const server = await EtcdServer.start({ args: ['--enable-v2=false'] });
  await server.ctl('put', KEY, CONFIG);
  const { settled, lines, pauses } = opening(server.url, 'auto');
  assert.equal(await settled(), 'v3');
  assert.match(lines[0] ?? '', /is there, v2 can't be read$/);
  assert.deepEqual(pauses, []);
  await server.stop();
});
