import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { builtRelease } from '../support/release.ts';
import { SETTINGS, writeConfig } from '../support/service-peer.ts';
import { cannotRunSystemd, SystemdHost } from '../support/systemd-host.ts';

/*
 * What `systemctl enable --now flanneld && systemctl restart docker` does on a host with Docker's own unit:
 *
 *     systemd (PID 1) ─┬─ weft-generator       at each reload
 *                      ├─ weft-store.service
 *                      ├─ flanneld.service
 *                      └─ docker.service       a dockerd that writes down its words
 */
const skip = cannotRunSystemd();
/** As in Docker's package, with what a host may add. */
const DOCKER = `[Unit]
Description=Docker Application Container Engine
[Service]
Type=exec
EnvironmentFile=-/etc/default/docker
ExecStart=/usr/local/sbin/dockerd -H fd:// \\
  --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
[Install]
WantedBy=multi-user.target
`;
const DOCKERD = (doors: string): string => `#!/bin/sh
case "$*" in
--help) echo "${doors}" ;;
*) echo "$@" >/run/dockerd-words; exec sleep infinity ;;
esac
`;
const DOORS_OF_29 = '  --allow-direct-routing\n  --bridge-accept-fwmark list';
const DROP_IN = 'docker.service.d/zz-weft-flannel.conf';

test('enable and disable of flanneld are all that Docker needs', { skip }, async (t) => {
  const host = await SystemdHost.start(t, {
    release: await builtRelease(),
    units: ['flanneld.service', 'weft-store.service', 'weft-docker.socket', 'weft-namespace.service'],
    generators: ['weft-generator'],
    programs: { dockerd: DOCKERD('no doors') },
    more: { 'docker.service': DOCKER },
    etc: {
      ...SETTINGS,
      'weft/flanneld.conf': `${SETTINGS['weft/flanneld.conf']}FLANNELD_DOCKER_FWMARK=0x1000\n`,
      'default/docker': 'DOCKER_OPTS=--debug\n',
      'systemd/system/docker.service.d/override.conf': '[Service]\nLimitNOFILE=4096\n',
    },
  });
  const dockerWords = async (): Promise<string> => {
    host.must(['rm', '-f', '/run/dockerd-words']);
    host.must(['systemctl', 'restart', 'docker']);
    await until(() => host.run(['test', '-s', '/run/dockerd-words']).code === 0, { what: 'dockerd' });
    return host.must(['cat', '/run/dockerd-words']);
  };
  const unit = () => host.must(['systemctl', 'cat', 'docker']);
  const OWN = '-H fd:// --containerd=/run/containerd/containerd.sock --debug';

  await t.test('installed alone, weft changes nothing of Docker', async () => {
    host.must(['systemctl', 'daemon-reload']);
    assert.doesNotMatch(unit(), /weft/);
    assert.equal(await dockerWords(), OWN);
  });

  await t.test('with flanneld enabled and no subnet yet, Docker stays down', () => {
    host.must(['systemctl', 'enable', 'flanneld']);
    assert.match(unit(), new RegExp(`^# /run/systemd/generator/${DROP_IN}$`, 'm'));
    const { code } = host.run(['systemctl', 'restart', '--job-mode=ignore-dependencies', 'docker']);
    assert.notEqual(code, 0);
    assert.equal(host.run(['systemctl', 'is-active', 'docker']).stdout, 'failed');
  });

  await t.test('with a subnet Docker gets its own words and the overlay’s', async () => {
    host.must(['systemctl', 'start', 'weft-store']);
    writeConfig(host);
    assert.equal(host.run(['systemctl', 'start', 'flanneld']).code, 0, host.log('flanneld.service'));
    const subnet = /^FLANNEL_SUBNET=(.*)$/m.exec(host.must(['cat', '/run/flannel/subnet.env']))?.[1];
    assert.equal(await dockerWords(), `${OWN} --bip=${subnet} --ip-masq=false --mtu=1450`);
  });

  await t.test(
    'an upgrade to Docker 29 gets its options, with flanneld’s mark, at the next start',
    async () => {
      host.setProgram('dockerd', DOCKERD(DOORS_OF_29));
      assert.match(
        await dockerWords(),
        / --allow-direct-routing --bip=.* --bridge-accept-fwmark=0x1000\/0x1000 /,
      );
    },
  );

  await t.test('a reload makes the same', () => {
    const path = `/run/systemd/generator/${DROP_IN}`;
    const before = host.must(['cat', path]);
    host.must(['systemctl', 'daemon-reload']);
    assert.equal(host.must(['cat', path]), before);
    assert.equal(host.must(['stat', '--format=%a', path]), '644');
  });

  await t.test('the socket of the driver brings its rights', () => {
    const properties = '--property=CapabilityBoundingSet';
    const rights = () => host.must(['systemctl', 'show', properties, 'flanneld']);
    assert.doesNotMatch(rights(), /cap_sys_admin/);
    host.must(['systemctl', 'enable', 'weft-docker.socket']);
    assert.match(rights(), /cap_sys_admin/);
    assert.match(host.must(['systemctl', 'show', '--property=Wants', 'docker']), /weft-docker\.socket/);
    host.must(['systemctl', 'disable', 'weft-docker.socket']);
    assert.doesNotMatch(rights(), /cap_sys_admin/);
  });

  await t.test('what the generator can’t do does not stop systemd', () => {
    const line = '[Service]\nExecStart=\nExecStart=/bin/sh -c "exec dockerd $DOCKER_OPTS"\n';
    host.must(['mkdir', '-p', '/run/systemd/system/docker.service.d']);
    host.must(['sh', '-c', 'printf "%b" "$1" >/run/systemd/system/docker.service.d/x.conf', 'sh', line]);
    host.must(['systemctl', 'daemon-reload']);
    assert.match(unit(), new RegExp(DROP_IN));
    assert.doesNotMatch(unit(), /ExecStart=.*\$DOCKER_NETWORK_OPTIONS$/m);
    host.must(['rm', '/run/systemd/system/docker.service.d/x.conf']);
  });

  await t.test('disabled, Docker is as before', async () => {
    host.must(['systemctl', 'disable', 'flanneld']);
    assert.doesNotMatch(unit(), /weft/);
    assert.equal(await dockerWords(), OWN);
  });
});
