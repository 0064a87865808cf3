import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EmbeddedStore } from '#src/lab/embedded-store.ts';
import { Etcd } from '#src/lab/etcd.ts';
import { faultCalled } from '#src/lab/faults.ts';
import { until } from '#src/sys/until.ts';
import { STORES, startStore, WEFT } from '../support/flanneld.ts';
import { cannotRun, testLab } from '../support/test-lab.ts';

/*
 * The lab's store: etcd of one member on store .190, or of three on store .190, store2 .189, store3 .188, or the
 * embedded store on store .190.
 */
const skip = cannotRun('etcd', 'etcdctl', 'openssl', 'nft');

test('one etcd serves both of its APIs to the hosts', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab);
  assert.deepEqual(etcd.endpoints, ['http://172.16.70.190:2379']);
  await etcd.must(2, ['mkdir', 'a/b']);
  await etcd.must(2, ['set', 'a/b/c'], '{"x":1}');
  assert.equal(await etcd.must(2, ['get', '/a/b/c']), '{"x":1}\n');
  await etcd.must(3, ['put', '/a/b/c', 'three']);
  const [h1] = lab.hosts;
  assert.ok(h1);
  const get = ['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${etcd.endpoints[0]}`, 'get', '/a/b/c'];
  assert.equal(await h1.must([...get, '--print-value-only']), 'three\n');
});

test('three members survive the loss of one, and an etcd is found again by its lab', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab, { members: 3 });
  assert.equal(lab.hosts.length, 1);
  assert.deepEqual(
    etcd.endpoints,
    ['190', '189', '188'].map((byte) => `http://172.16.70.${byte}:2379`),
  );
  const fault = faultCalled('etcd-member-lost');
  const [host] = lab.hosts;
  assert.ok(host);
  await etcd.must(3, ['put', 'a', '1']);
  await fault.start({ lab, host, etcd });
  await until(async () => (await etcd.run(3, ['put', 'a', '2'])).code === 0, {
    what: 'new leader',
    timeoutMs: 30_000,
  });
  await fault.end({ lab, host, etcd });
  const found = await Etcd.find(lab);
  assert.deepEqual(found?.endpoints, etcd.endpoints);
  await found?.ready();
});

test('with TLS a client needs the CA, and a certificate when it is asked for one', { skip }, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  const etcd = await Etcd.start(lab, { tls: 'client' });
  const [h1] = lab.hosts;
  assert.ok(h1);
  await etcd.must(3, ['put', 'a', '1']);
  assert.match(await etcd.must(2, ['cluster-health']), /cluster is healthy/);
  const ask = ['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${etcd.endpoints[0]}`];
  const { ca, cert, key } = etcd.certificates ?? assert.fail('no certificates');
  assert.notEqual((await h1.run([...ask, '--command-timeout=1s', `--cacert=${ca}`, 'get', 'a'])).code, 0);
  assert.equal(
    await h1.must([...ask, `--cacert=${ca}`, `--cert=${cert}`, `--key=${key}`, 'get', 'a']),
    'a\n1\n',
  );
});

const KINDS = STORES.filter(({ api }) => api === 3);

for (const { kind, called } of KINDS) {
  test(`${called} fails in every way that a lab has, and comes back`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const etcd = await startStore(lab, kind);
    const [host] = lab.hosts;
    assert.ok(host);
    const target = { lab, host, etcd };
    const get = ['env', 'ETCDCTL_API=3', 'etcdctl', `--endpoints=${etcd.endpoints[0]}`, 'get', 'a'];
    const soon = ['--command-timeout=1s', '--dial-timeout=1s'];
    // The store answers on its own host before a link that was cut lets packets through again.
    const answers = (expected: string, name: string): Promise<true> =>
      until(
        async () => {
          const { code, stdout } = await host.run(get);
          return code === 0 && stdout === expected;
        },
        { what: `answer to the host after ${name}`, timeoutMs: 20_000 },
      );
    await etcd.must(3, ['put', 'a', '1']);
    for (const name of ['etcd-killed', 'etcd-frozen', 'etcd-partitioned']) {
      const fault = faultCalled(name);
      await fault.start(target);
      assert.notEqual((await host.run([...get, ...soon])).code, 0, name);
      await fault.end(target);
      await etcd.ready();
      await answers('a\n1\n', name);
    }
    await etcd.must(3, ['put', 'a', '2']);
    await faultCalled('etcd-compacted').start(target);
    assert.match((await host.run([...get, '--rev=2'])).stderr, /compacted/);
    await faultCalled('etcd-compacted').start(target); // again, with nothing to forget
    await faultCalled('etcd-emptied').start(target);
    await answers('', 'etcd-emptied');
    await assert.rejects(async () => faultCalled('etcd-member-lost').start(target), {
      code: 'lab-fault',
      remedy: /--store=etcd --members=3/,
    });
  });

  test(`when slow, ${called} answers late, and at once again when the fault ends`, { skip }, async (t) => {
    const lab = await testLab(t, { hosts: 1 });
    const etcd = await startStore(lab, kind);
    const [host] = lab.hosts;
    assert.ok(host);
    const target = { lab, host, etcd, relay: [WEFT, 'lab', 'relay'] };
    const version = ['busybox', 'time', 'busybox', 'wget', '-q', '-O-', `${etcd.endpoints[0]}/version`];
    const secondsOf = (stderr: string): number => Number(/real\s+0m ([\d.]+)s/.exec(stderr)?.[1]);
    await faultCalled('etcd-slow').start(target);
    const slow = await host.run(version);
    assert.match(slow.stdout, /etcdserver/);
    assert.ok(secondsOf(slow.stderr) >= 0.5, slow.stderr);
    await faultCalled('etcd-slow').end(target);
    await until(async () => secondsOf((await host.run(version)).stderr) < 0.5, {
      what: 'answer that is not late',
    });
  });
}

test('another process of a lab finds the keys that the first wrote into the embedded store', {
  skip,
}, async (t) => {
  const lab = await testLab(t, { hosts: 1 });
  await (await EmbeddedStore.start(lab.store, [WEFT])).put('/a/b', '{"x":1}');
  const found = (await EmbeddedStore.find(lab)) ?? assert.fail('not found');
  assert.equal(await found.must(3, ['get', '--print-value-only', '/a/b']), '{"x":1}\n');
  await found.put('/a/b', 'two');
  assert.equal(await found.must(3, ['get', '--print-value-only', '/a/b']), 'two\n');
});
