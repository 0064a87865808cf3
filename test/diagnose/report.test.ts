import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Host } from '#src/lab/host.ts';
import { until } from '#src/sys/until.ts';
import { WEFT } from '../support/flanneld.ts';
import { type Node, pairOf, testNetwork } from '../support/network.ts';
import { cannotRun, wholeFile } from '../support/test-lab.ts';

/*
 *     store .190     h1 .191 flanneld ── docker0 ── c     h2 .192 flanneld ── docker0 ── c
 *
 * Secrets are planted on h1, in what the report reads, and public addresses.
 */
const skip = cannotRun('ping', 'nft');
const SECRET = 'Hunter2xSecret';

let h1: Node;
let h2: Node;
wholeFile(skip, async (owner) => {
  [h1, h2] = pairOf(await testNetwork(owner, { api: 3, store: 'embedded' }));
  const { host } = h1;
  await host.must(['ip', 'link', 'set', 'eth0', 'alias', `token=${SECRET}`]);
  await host.must(['ip', 'address', 'add', '8.8.4.4/32', 'dev', 'lo']);
  await host.must(['ip', 'route', 'add', '9.9.9.0/24', 'via', h2.host.address]);
  await host.must(['nft', 'add', 'table', 'ip', 'planted']);
  await host.must(['nft', 'add', 'chain', 'ip', 'planted', 'c']);
  await host.must([
    'nft',
    'add',
    'rule',
    'ip',
    'planted',
    'c',
    'ip',
    'daddr',
    '8.8.4.4',
    'comment',
    `"password=${SECRET}"`,
  ]);
  await host.must(['sh', '-c', `echo 'API_TOKEN=${SECRET}' >> /run/flannel/subnet.env`]);
  await host.must(['sh', '-c', `echo '{"password":"${SECRET}"}' > /var/lib/weft/network-aaaaaaaaaaaa.json`]);
  // Another program of the host that is taken for a flanneld, with secrets in its words and variables.
  const environment = [`FLANNELD_ETCD_PASSWORD=${SECRET}v`, `OTHER_SECRET=${SECRET}w`];
  await host.must(['sh', '-c', "echo 'while :; do sleep 1; done' > /run/flanneld"]);
  const words = ['sh', '/run/flanneld', '-etcd-password', `${SECRET} x`];
  const planted = await host.start('planted', ['env', ...environment, ...words]);
  const line = async () => (await host.run(['cat', `/proc/${planted.pid}/cmdline`])).stdout;
  await until(async () => (await line()).startsWith('sh\0'), { what: 'the planted program' });
});

const report = (host: Host, ...words: string[]) =>
  host.run([WEFT, 'report', ...words], { timeoutMs: 60_000 });

/** The files of an archive, by name. */
async function unpack(host: Host, path: string): Promise<Map<string, string>> {
  const names = (await host.must(['tar', '-tzf', path])).trim().split('\n');
  const files = new Map<string, string>();
  for (const name of names) files.set(name, await host.must(['tar', '-xzOf', path, name]));
  return files;
}

test('everything is in it, but no secret and no public address', { skip }, async () => {
  const path = '/run/report.tar.gz';
  const { code, stdout, stderr } = await report(h1.host, '--yes', `--write=${path}`);
  assert.equal(code, 0, stderr);
  assert.equal((await h1.host.must(['stat', '-c', '%a', path])).trim(), '600');
  const files = await unpack(h1.host, path);
  const all = [...files.values()].join('\n');
  assert.doesNotMatch(all, new RegExp(SECRET));
  assert.doesNotMatch(stdout, new RegExp(SECRET));
  assert.doesNotMatch(all, /8\.8\.4\.4|9\.9\.9\.0/);
  // The listing names each file with its size.
  for (const name of files.keys()) assert.match(stdout, new RegExp(`^${name} +\\d`, 'm'));
  const file = (name: string): string => {
    const found = [...files].find(([it]) => it.endsWith(name));
    return found?.[1] ?? assert.fail(`no ${name} in ${[...files.keys()]}`);
  };
  assert.equal(JSON.parse(file('/status.json')).version, '0.1.0');
  assert.match(file('/peers.json'), new RegExp(h2.host.address.replaceAll('.', '\\.')));
  assert.match(file('/view.json'), /flannel\.1/);
  assert.match(file('/events.json'), /"events"/);
  assert.match(
    file('/command-lines.txt'),
    /FLANNELD_ETCD_PASSWORD=\*\*\* .*flanneld -etcd-password \*\*\*$/m,
  );
  assert.match(file('weft-report/links.txt'), /alias token=\*\*\*/);
  assert.match(file('weft-report/nftables.txt'), /comment "password=\*\*\*"/);
  assert.match(file('/subnet.env'), /^FLANNEL_MTU=1450\n(.*\n)*API_TOKEN=\*\*\*$/m);
  assert.match(file('/sysctls.txt'), /^net\.ipv4\.ip_forward = 1$/m);
  // One address has one placeholder, in all files.
  const placeholder = / (203\.0\.113\.\d+)\/32 scope global lo/.exec(file('/addresses.txt'))?.[1];
  assert.ok(placeholder !== undefined);
  assert.ok(file('weft-report/nftables.txt').includes(`ip daddr ${placeholder} `));
});

test('with the daemon down there is a report, which says so', { skip }, async () => {
  const daemon = await h2.host.daemon('flanneld');
  await daemon?.stop();
  const path = '/run/down.tar.gz';
  const { code, stdout, stderr } = await report(h2.host, '--yes', `--write=${path}`, '--no-mask');
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^without network-\S+\/status\.json, .*: no flanneld serves this network/m);
  const files = await unpack(h2.host, path);
  assert.match(files.get('weft-report/README.txt') ?? '', /no flanneld serves this network/);
  assert.match(files.get('weft-report/files/subnet.env') ?? '', /^FLANNEL_SUBNET=/m);
});

test('it asks first, and overwrites nothing', { skip }, async () => {
  const { host } = h2;
  const unasked = await report(host);
  assert.deepEqual(
    [unasked.code, unasked.stderr],
    [1, 'weft report: there is no terminal to ask on; add --yes, or --list\n'],
  );
  await host.must(['sh', '-c', 'echo mine > /run/mine.tar.gz']);
  const there = await report(host, '--yes', '--write=/run/mine.tar.gz');
  assert.deepEqual(
    [there.code, there.stderr],
    [1, 'weft report: /run/mine.tar.gz exists; name another file with --write\n'],
  );
  const listed = await report(host, '--list');
  assert.equal(listed.code, 0);
  assert.match(listed.stdout, /^FILE +SIZE\nweft-report\/README\.txt +\d/);
  const nowhere = await report(host, '--yes', '--write=/nosuch/x.tar.gz');
  assert.equal(nowhere.code, 1);
  assert.match(nowhere.stderr, /^weft report: could not write \/nosuch\/x\.tar\.gz: ENOENT.*$/m);
});
