import assert from 'node:assert/strict';
import { test } from 'node:test';
import { dockerDropIn } from '#src/cli/generator/docker-drop-in.ts';
import { listOf } from '#src/lib/unit-file.ts';

const FLANNELD = {
  source: 'flanneld.service',
  text: '[Service]\nExecStart=flanneld\nExecStartPost=mk-docker-opts -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker\n',
};
const unit = (text: string, source = '/usr/lib/systemd/system/docker.service') => ({ source, text });
const make = (...docker: ReturnType<typeof unit>[]) => dockerDropIn({ docker, flanneld: [FLANNELD] });

/** What Docker's unit has in force with the drop-in. */
const inForce = (key: string, ...docker: ReturnType<typeof unit>[]): string[] =>
  listOf([...docker, unit(make(...docker).text ?? '', 'drop-in')], { section: 'Service', key }).map(
    ({ value }) => value,
  );

test('dockerd’s line of each distribution gets the options at its end', () => {
  const lines = {
    // docker-ce 29
    '/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock': '',
    // Debian's docker.io
    '/usr/sbin/dockerd -H fd:// $DOCKER_OPTS': '',
    // Fedora's moby-engine
    '/usr/bin/dockerd \\\n  --host=fd:// \\\n  --exec-opt native.cgroupdriver=systemd \\\n# a comment\n  $OPTIONS':
      '/usr/bin/dockerd    --host=fd://    --exec-opt native.cgroupdriver=systemd    $OPTIONS',
    '-/usr/bin/docker daemon -H fd://': '',
    '/opt/site/start-docker --debug': '',
  };
  for (const [line, read] of Object.entries(lines))
    assert.deepEqual(
      inForce('ExecStart', unit(`[Service]\nExecStart=${line}\n`)),
      [`${read || line} $DOCKER_NETWORK_OPTIONS`],
      line,
    );
});

test('a drop-in of the host’s counts, and only dockerd’s line of several is changed', () => {
  const own = unit('[Service]\nExecStart=/usr/bin/dockerd -H fd://\n');
  const override = unit(
    '[Service]\nExecStart=\nExecStart=/usr/bin/logger "a; b" ; /bin/true\nExecStart=/usr/bin/dockerd --debug\n',
    '/etc/systemd/system/docker.service.d/override.conf',
  );
  assert.deepEqual(inForce('ExecStart', own, override), [
    '/usr/bin/logger "a; b" ; /bin/true',
    '/usr/bin/dockerd --debug $DOCKER_NETWORK_OPTIONS',
  ]);
  assert.match(make(own, override).text ?? '', /# The line of \/etc\/.*override\.conf/);
});

test('what a drop-in made by hand says is not said twice', () => {
  const own = unit('[Service]\nExecStart=/usr/bin/dockerd -H fd://\n');
  const byHand = unit(
    '[Service]\nEnvironmentFile=/run/flannel/docker\nExecStartPre=-env mk-docker-opts -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker\nExecStart=\nExecStart=dockerd $DOCKER_NETWORK_OPTIONS\n',
  );
  assert.equal(
    make(own, byHand).text,
    `# Made by weft-generator, because flanneld.service is enabled.
[Unit]
# Wants, not Requires: a restart of flanneld must not restart Docker and every container.
Wants=flanneld.service
After=flanneld.service
`,
  );
});

test('Docker does not start without the options, also where its unit has them with a dash', () => {
  const files = inForce(
    'EnvironmentFile',
    unit(
      '[Service]\nEnvironmentFile=-/run/flannel/docker\nExecStart=/usr/bin/dockerd-current $DOCKER_NETWORK_OPTIONS\n',
    ),
  );
  assert.deepEqual(files, ['-/run/flannel/docker', '/run/flannel/docker']);
});

test('the options are asked for with flanneld’s own command and mark, before each start', () => {
  const flanneld = {
    source: 'x',
    text: '[Service]\nExecStartPost=-/opt/weft/bin/mk-docker-opts -f /run/a/subnet.env -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker\n',
  };
  const docker = [unit('[Service]\nExecStart=/usr/bin/dockerd\n')];
  const { text = '' } = dockerDropIn({ docker, flanneld: [flanneld], fwmark: '0x4000' });
  const lines = text.split('\n');
  assert.ok(lines.includes('Environment=FLANNELD_DOCKER_FWMARK=0x4000'));
  assert.ok(
    lines.includes(
      'ExecStartPre=-env -u DOCKER_NETWORK_OPTIONS /opt/weft/bin/mk-docker-opts -f /run/a/subnet.env -k DOCKER_NETWORK_OPTIONS -d /run/flannel/docker',
    ),
  );
});

test('Docker is left as it is where flanneld’s unit writes no options for it', () => {
  const flanneld = [
    FLANNELD,
    unit('[Service]\nExecStartPost=\n', '/etc/systemd/system/flanneld.service.d/a.conf'),
  ];
  const { text, notes } = dockerDropIn({ docker: [unit('[Service]\nExecStart=dockerd\n')], flanneld });
  assert.equal(text, undefined);
  assert.deepEqual(notes, [
    'docker.service is left as it is: flanneld.service does not write /run/flannel/docker',
  ]);
});

test('a line that takes no words at its end is left, with a note', () => {
  for (const line of ['/bin/sh -c "exec dockerd $DOCKER_OPTS"', ':/usr/bin/dockerd -H fd://']) {
    const docker = unit(`[Service]\nExecStart=${line}\n`);
    assert.deepEqual(inForce('ExecStart', docker), [line]);
    assert.match(
      make(docker).notes.join(),
      /^\/usr\/lib\/systemd\/system\/docker.service: write \$DOCKER_NETWORK_OPTIONS/,
    );
  }
  assert.match(make(unit('[Service]\n')).notes.join(), /no ExecStart= for dockerd/);
});
