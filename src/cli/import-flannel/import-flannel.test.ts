import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatConfig } from '#src/cli/import-flannel/format-config.ts';
import { type ImportedFlannel, importFlannel } from '#src/cli/import-flannel/import-flannel.ts';
import { parseEnvironmentFile } from '#src/lib/environment-file.ts';
import { unitWords } from '#src/lib/unit-words.ts';
import { COREOS_HOST, HAND_HOST, OLD_RPM_HOST, RPM_HOST } from '../../../test/support/flannel-hosts.ts';
import { unitReaderOf } from '../../../test/support/unit-reader.ts';

type Texts = Readonly<Record<string, string>>;

async function imported(texts: Texts, unit?: string): Promise<ImportedFlannel> {
  const found = await importFlannel(unitReaderOf(texts), unit);
  assert.ok(found !== undefined);
  return found;
}

/** flag → values */
const valuesOf = ({ settings }: ImportedFlannel) =>
  Object.fromEntries(settings.map(({ flag, values }) => [flag, values.join(' | ')]));
const sourcesOf = ({ settings }: ImportedFlannel) =>
  Object.fromEntries(settings.map(({ flag, source }) => [flag, source]));
/** A host whose only unit has these lines. */
const withService = (...lines: readonly string[]): Texts => ({
  '/etc/systemd/system/flanneld.service': `[Service]\n${lines.join('\n')}\n`,
});

test('the rpm of Fedora, CentOS and RHEL: its variables are flags of its wrapper', async () => {
  const found = await imported(RPM_HOST);
  assert.deepEqual(valuesOf(found), {
    'etcd-endpoints': 'http://192.0.2.1:2379',
    'etcd-prefix': '/atomic.io/network',
    iface: 'eth0',
    'ip-masq': 'true',
  });
  assert.deepEqual(sourcesOf(found), {
    'etcd-endpoints': 'FLANNEL_ETCD_ENDPOINTS in /etc/sysconfig/flanneld',
    'etcd-prefix': 'FLANNEL_ETCD_PREFIX in /etc/sysconfig/flanneld',
    iface: 'FLANNEL_OPTIONS in /etc/sysconfig/flanneld',
    'ip-masq': 'FLANNEL_OPTIONS in /etc/sysconfig/flanneld',
  });
});

test('the wrapper need not be there', async () => {
  const { '/usr/bin/flanneld-start': _, ...rest } = RPM_HOST;
  const [whole, without] = [await imported(RPM_HOST), await imported(rest)];
  assert.deepEqual([valuesOf(without), sourcesOf(without)], [valuesOf(whole), sourcesOf(whole)]);
});

test('the names of its older versions, and of both the newer ones', async () => {
  assert.deepEqual(valuesOf(await imported(OLD_RPM_HOST)), {
    'etcd-endpoints': 'http://192.0.2.1:2379',
    'etcd-prefix': '/coreos.com/network',
  });
  const mixed = {
    ...RPM_HOST,
    '/etc/sysconfig/flanneld':
      'FLANNEL_ETCD=http://a:1\nFLANNEL_ETCD_ENDPOINTS=http://b:2\nFLANNEL_ETCD_KEY=/k\n',
  };
  assert.deepEqual(valuesOf(await imported(mixed)), { 'etcd-endpoints': 'http://b:2', 'etcd-prefix': '/k' });
});

test('settings that a removed package left are found without its unit', async () => {
  const found = await imported({
    '/etc/sysconfig/flanneld.rpmsave': RPM_HOST['/etc/sysconfig/flanneld'] ?? '',
  });
  assert.deepEqual(valuesOf(found), valuesOf(await imported(RPM_HOST)));
  assert.deepEqual(found.before, []);
});

test('Debian and Ubuntu: the program is called flannel, and guides put settings into /etc/default', async () => {
  const unit = {
    '/lib/systemd/system/flannel.service':
      '[Service]\nEnvironmentFile=-/etc/default/flannel\nExecStart=/usr/bin/flannel -ip-masq $DAEMON_ARGS\n',
    '/etc/default/flannel': 'DAEMON_ARGS="-iface=eth4"\n',
  };
  const found = await imported(unit);
  assert.deepEqual(valuesOf(found), { iface: 'eth4', 'ip-masq': 'true' });
  assert.deepEqual(found.before, [
    'systemctl disable --now flannel.service: packets are forwarded meanwhile',
  ]);
  const file = {
    '/etc/default/flanneld':
      'FLANNEL_ETCD_ENDPOINTS="http://a:1"\nFLANNEL_ETCD_PREFIX="/p"\nFLANNEL_OPTIONS="--iface=eth5"\n',
  };
  assert.deepEqual(valuesOf(await imported(file)), {
    'etcd-endpoints': 'http://a:1',
    'etcd-prefix': '/p',
    iface: 'eth5',
  });
});

test('CoreOS: variables of the file that a drop-in links, flags of the unit', async () => {
  const found = await imported(COREOS_HOST);
  assert.deepEqual(valuesOf(found), {
    'etcd-endpoints': 'http://192.0.2.1:2379',
    iface: '192.0.2.10',
    'ip-masq': 'true',
  });
  assert.equal(sourcesOf(found).iface, 'FLANNELD_IFACE in /etc/flannel/options.env');
  assert.equal(sourcesOf(found)['ip-masq'], 'FLANNEL_OPTS in /usr/lib/systemd/system/flanneld.service');
  const notes = found.notes.join('\n');
  assert.match(notes, /FLANNEL_IMAGE_TAG .* is not taken over: it is about the image/);
  assert.match(notes, /ETCDCTL_ENDPOINTS .* is for the etcdctl/);
  assert.match(notes, /50-network-config.conf writes the network config into etcd before each start/);
});

test('a unit by hand: repeated flags, and a variable that a flag hides', async () => {
  const found = await imported(HAND_HOST);
  assert.deepEqual(valuesOf(found), {
    'etcd-endpoints': 'http://192.0.2.1:2379,http://192.0.2.2:2379',
    'etcd-username': 'root',
    'etcd-password': 'pa%ss w"rd',
    iface: 'eth0 | eth1',
    'ip-masq': 'true',
    'healthz-port': '80',
  });
  assert.match(found.choices.join(), /-iface .* is taken and not FLANNELD_IFACE/);
  const notes = found.notes.join('\n');
  assert.match(notes, /-logtostderr .* weft logs to standard error/);
  assert.match(notes, /GOMAXPROCS .* no setting of flannel/);
  assert.match(notes, /CAP_NET_BIND_SERVICE/);
  assert.doesNotMatch([notes, ...found.choices, ...found.before].join(), /pa%ss/);
});

test('what is written is read by systemd as it was', async () => {
  const found = await imported(HAND_HOST);
  const written = parseEnvironmentFile(formatConfig(found));
  assert.equal(written.get('FLANNELD_ETCD_PASSWORD'), 'pa%ss w"rd');
  assert.equal(written.get('FLANNELD_ETCD_ENDPOINTS'), 'http://192.0.2.1:2379,http://192.0.2.2:2379');
  assert.deepEqual(unitWords(written.get('FLANNELD_OPTIONS') ?? ''), ['--iface=eth0', '--iface=eth1']);
  assert.equal(written.has('FLANNELD_IFACE'), false);
});

test('what comes first: stop the unit, and take away what hides or changes that of weft', async () => {
  assert.deepEqual((await imported(HAND_HOST)).before, [
    'systemctl disable --now flanneld.service: packets are forwarded meanwhile',
    "rm /etc/systemd/system/flanneld.service: it hides weft's unit, which has the same name",
    'systemctl daemon-reload',
  ]);
  const { before } = await imported(COREOS_HOST);
  assert.match(
    before.join('\n'),
    /rm \/etc\/systemd\/system\/flanneld.service.d\/40-ExecStartPre-symlink.conf/,
  );
});

test("drop-ins that flannel left for weft's own unit are named", async () => {
  const found = await imported({
    ...COREOS_HOST,
    '/usr/lib/systemd/system/flanneld.service':
      '[Unit]\nDescription=flanneld (weft), x\n[Service]\nExecStart=flanneld\n',
    '/etc/systemd/system/flanneld.service.d/60-flags.conf':
      '[Service]\nExecStart=\nExecStart=/opt/flanneld -v=1\n',
  });
  assert.equal(found.name, '/etc/flannel/options.env');
  assert.match(found.before.join('\n'), /60-flags.conf changes weft's unit/);
});

test("Docker's side: what may stay, and what has to go", async () => {
  const rpm = (await imported(RPM_HOST)).docker.join('\n');
  assert.match(rpm, /docker.service.d\/flannel.conf .* may stay/);
  assert.match(rpm, /docker.service.requires\/flanneld.service: each stop of flanneld.service stops Docker/);
  const coreos = (await imported(COREOS_HOST)).docker.join('\n');
  assert.match(
    coreos,
    /docker.service has Docker take its options from \/run\/flannel\/flannel_docker_opts.env: remove/,
  );
  assert.match(coreos, /docker.service has an ExecStart= of its own/);
  assert.match(
    coreos,
    /40-flannel.conf has Requires=flanneld.service: a restart of flanneld restarts Docker/,
  );
  assert.match(coreos, /disable --now flannel-docker-opts/);
  const json = { ...HAND_HOST, '/etc/docker/daemon.json': '{"bip":"10.0.1.1/24","mtu":1450}' };
  assert.match((await imported(json)).docker.join(), /daemon.json has bip, mtu: take it out/);
});

test('flannel in a container of its own: flags behind the image, variables of -e and --env-file', async () => {
  const found = await imported({
    ...withService(
      'ExecStartPre=-/usr/bin/docker rm flannel',
      'ExecStart=/usr/bin/docker run --net=host -e FLANNELD_IFACE=eth3 --env-file=/etc/f.env \\',
      '  quay.io/coreos/flannel:v0.9.1 /opt/bin/flanneld -ip-masq',
    ),
    '/etc/f.env': 'FLANNELD_ETCD_ENDPOINTS=http://a:1\n',
  });
  assert.deepEqual(valuesOf(found), { 'etcd-endpoints': 'http://a:1', iface: 'eth3', 'ip-masq': 'true' });
});

test('a shell around it', async () => {
  const line = `ExecStart=/bin/sh -c 'exec /opt/bin/flanneld -iface=$$DEVICE -etcd-prefix="/a b" > /var/log/f 2>&1'`;
  assert.deepEqual(valuesOf(await imported(withService('Environment=DEVICE=eth2', line))), {
    'etcd-prefix': '/a b',
    iface: 'eth2',
  });
  const hard = await imported(withService(`ExecStart=/bin/sh -c 'flanneld -public-ip=$$(curl http://x)'`));
  assert.deepEqual(valuesOf(hard), {});
  assert.match(hard.notes.join(), /only a shell understands/);
});

test('flags that no flannel has, values that it can not read, and words behind the flags', async () => {
  const found = await imported(
    withService('ExecStart=/f/flanneld -color red -v=two -ip-masq=1 -- -iface=eth0'),
  );
  assert.deepEqual(valuesOf(found), { 'ip-masq': 'true' });
  const notes = found.notes.join('\n');
  assert.match(notes, /-color .* no flannel has such a flag/);
  assert.match(notes, /-v .* flannel can not read it/);
  assert.match(notes, /from -iface=eth0 on is not taken over/);
});

test('variables that flannel does not see are not taken, though weft would see them', async () => {
  const found = await imported(
    withService(
      'Environment=FLANNELD_STATE_DIR=/x FLANNELD_NETWORKS=a FLANNELD_V=x',
      'ExecStart=/f/flanneld',
    ),
  );
  assert.deepEqual(valuesOf(found), {});
  assert.match(found.notes.join('\n'), /FLANNELD_STATE_DIR .* means nothing to flannel/);
  assert.match(found.notes.join('\n'), /FLANNELD_NETWORKS .* means nothing to flannel/);
  assert.match(found.notes.join('\n'), /as flannel ignores it: FLANNELD_V/);
});

test('an empty value that is not the default stays a flag', async () => {
  const found = await imported(withService('ExecStart=/f/flanneld -subnet-file= -iface-regex="e.* 1"'));
  assert.match(formatConfig(found), /^FLANNELD_OPTIONS=--subnet-file=$/m);
  assert.match(formatConfig(found), /^FLANNELD_IFACE_REGEX="e\.\* 1"$/m);
});

test('leases of Kubernetes are refused', async () => {
  const refused = { code: 'import-kubernetes', exitCode: 1 };
  await assert.rejects(
    importFlannel(unitReaderOf(withService('ExecStart=/f/flanneld --kube-subnet-mgr')), undefined),
    refused,
  );
  const pods = { '/etc/kube-flannel/net-conf.json': '{}' };
  await assert.rejects(importFlannel(unitReaderOf(pods), undefined), refused);
});

test('of several units one is taken, the others are named, and --unit chooses', async () => {
  const texts = {
    ...withService('ExecStart=/f/flanneld -iface=eth0'),
    '/etc/systemd/system/a-flannel.service': '[Service]\nExecStart=/f/flanneld -iface=eth1\n',
  };
  const first = await imported(texts);
  assert.deepEqual([first.name, valuesOf(first)], ['flanneld.service', { iface: 'eth0' }]);
  assert.match(first.notes.join(), /a-flannel.service starts a flannel too/);
  assert.deepEqual(valuesOf(await imported(texts, 'a-flannel')), { iface: 'eth1' });
  await assert.rejects(imported(texts, 'b'), { code: 'import-unit' });
});

test("no flannel: an empty host, and one that has weft's units, with settings of an earlier version", async () => {
  assert.equal(await importFlannel(unitReaderOf({}), undefined), undefined);
  const weft = {
    '/usr/lib/systemd/system/flanneld.service':
      '[Unit]\nDescription=flanneld (weft)\n[Service]\nExecStart=flanneld $FLANNELD_OPTIONS\n',
    '/etc/default/flanneld': 'FLANNELD_IFACE=eth0\nFLANNELD_OPTIONS=\n',
    '/etc/systemd/system/other.service':
      '[Unit]\nAfter=flanneld.service\n[Service]\nExecStart=/usr/bin/pkill flanneld\n',
  };
  assert.equal(await importFlannel(unitReaderOf(weft), undefined), undefined);
});

test('a value can not break out of its line or comment', async () => {
  const found = await imported({
    ...withService(
      'EnvironmentFile=/e',
      'ExecStart=/f/flanneld -iface="a\\nFLANNELD_V=9" word\\nFLANNELD_V=8',
    ),
    '/e': 'FLANNELD_ETCD_PREFIX="/x\nFLANNELD_IP_MASQ=true"\n',
  });
  const written = parseEnvironmentFile(formatConfig(found));
  assert.deepEqual([...written.keys()].sort(), [
    'FLANNELD_ETCD_PREFIX',
    'FLANNELD_IFACE',
    'FLANNELD_OPTIONS',
  ]);
  assert.equal(written.get('FLANNELD_IFACE'), 'a\nFLANNELD_V=9');
});
