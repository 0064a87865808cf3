import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { test } from 'node:test';
import { until } from '#src/sys/until.ts';
import { COREOS_HOST, HAND_HOST, OLD_RPM_HOST, RPM_HOST } from '../support/flannel-hosts.ts';
import { cannotRunSystemd, SystemdHost } from '../support/systemd-host.ts';

/*
 * One host whose first process is systemd, and on it one installed flannel after the other. In flannel's place is a program
 * that notes how it was called:
 *
 *     systemd ── flannel's own unit ──────────────────────────────▶ recorder ── its words ──▶ flanneld
 *             └─ a unit with the converted flanneld.conf ─────────▶ recorder ── its words ──▶ flanneld
 *
 * Both times flanneld must say that it starts with the same settings. So systemd itself is what our reading of units,
 * environment files and wrappers is compared with.
 */
const skip = cannotRunSystemd();

const RECORD = '/run/record';
/** Two files, the second of which appears when both are whole. */
const RECORDER = `#!/bin/sh
[ "$1" = -d ] && exit 0
mkdir -p ${RECORD}
for word; do printf '%s\\0' "$word"; done > ${RECORD}/argv
env -0 > ${RECORD}/environ.new
mv ${RECORD}/environ.new ${RECORD}/environ
exec sleep infinity
`;
const IDLE = '#!/bin/sh\n';
const PROGRAMS: Readonly<Record<string, string>> = {
  '/usr/bin/flanneld': RECORDER,
  '/usr/local/bin/flanneld': RECORDER,
  '/usr/lib/coreos/flannel-wrapper': RECORDER,
  '/run/recorder': RECORDER,
  '/usr/bin/etcdctl': IDLE,
  '/usr/sbin/modprobe': IDLE,
};
const CONVERTED: Readonly<Record<string, string>> = {
  '/etc/systemd/system/converted.service': `[Service]
EnvironmentFile=-/etc/weft/flanneld.conf
ExecStart=/run/recorder $FLANNELD_OPTIONS
`,
};

const LAYOUTS = {
  'the rpm of Fedora, CentOS 7 and RHEL 7': RPM_HOST,
  'the same before 0.5.5': OLD_RPM_HOST,
  'CoreOS Container Linux': COREOS_HOST,
  'a unit by hand': HAND_HOST,
};

/** How the recorder was called. */
interface Call {
  readonly words: readonly string[];
  readonly variables: readonly string[];
}

test('each layout is converted, and flanneld starts with the same settings', { skip }, async (t) => {
  const host = await SystemdHost.start(t, { units: [], etc: {} });
  const put = (files: Readonly<Record<string, string>>, mode = 0o644): void => {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(host.path(path)), { recursive: true });
      writeFileSync(host.path(path), text, { mode });
    }
  };
  const parts = (path: string): string[] => readFileSync(host.path(path), 'utf8').split('\0').slice(0, -1);
  const called = async (unit: string): Promise<Call> => {
    rmSync(host.path(RECORD), { recursive: true, force: true });
    host.must(['systemctl', 'start', '--no-block', unit]);
    await until(() => existsSync(host.path(`${RECORD}/environ`)), { what: `call of ${unit}` });
    const variables = parts(`${RECORD}/environ`).filter((text) => /^FLANNELD_(?!OPTIONS)/.test(text));
    const words = parts(`${RECORD}/argv`);
    host.must(['systemctl', 'stop', unit]);
    return { words, variables: variables.sort() };
  };
  /** What flanneld says that it starts with. */
  const settings = ({ words, variables }: Call): string => {
    // The line of the call before must not be taken for that of this one.
    const script =
      'rm -f /run/log; flanneld "$@" 2>/run/log & until grep -qs "starts with" /run/log; do sleep 0.05; done; kill -9 $!; head -n1 /run/log';
    // flannel of today does not know it, and would end.
    const known = words.filter((word) => word !== '-logtostderr');
    const line = host.must(['env', ...variables, 'sh', '-c', script, 'sh', ...known]);
    return line.slice(line.indexOf(' starts with '));
  };

  ownPrograms(host);
  put(PROGRAMS, 0o755);
  for (const [title, layout] of Object.entries(LAYOUTS)) {
    await t.test(title, async () => {
      const { '/usr/bin/flanneld-start': wrapper, ...files } = layout as Record<string, string>;
      put({ ...files, ...CONVERTED });
      if (wrapper !== undefined) put({ '/usr/bin/flanneld-start': wrapper }, 0o755);
      host.must(['systemctl', 'daemon-reload']);
      const flannel = await called('flanneld.service');
      const { code, stderr } = host.run(['weft', 'import-flannel', '--output=/etc/weft/flanneld.conf']);
      assert.equal(code, 0, stderr);
      const converted = await called('converted.service');
      assert.equal(settings(converted), settings(flannel));
      assert.match(settings(flannel), / starts with --etcd-endpoints=http:\/\/192\.0\.2\.1:2379/);
      // The one value that flanneld does not show.
      const password = (call: Call) => call.variables.filter((text) => text.includes('PASSWORD'));
      assert.deepEqual(password(converted), password(flannel));
      assert.equal(host.must(['stat', '-c', '%a %U', '/etc/weft/flanneld.conf']), '600 root');
      assert.equal(host.run(['weft', 'import-flannel', '--output=/etc/weft/flanneld.conf']).code, 1);
      for (const path of Object.keys({ ...layout, '/etc/weft/flanneld.conf': '' }))
        rmSync(host.path(path), { force: true });
    });
  }
  assert.equal(host.run(['weft', 'import-flannel']).code, 3);
});

/** Folders of programs that this host may write to, without a trace on the machine. */
function ownPrograms(host: SystemdHost): void {
  const script = `
    set -e
    mkdir /run/units && mount --bind /usr/lib/systemd/system /run/units
    for folder in /usr/bin /usr/sbin /usr/local/bin /usr/lib; do
      mkdir -p /run/over$folder/upper /run/over$folder/work
      mount -t overlay -o lowerdir=$folder,upperdir=/run/over$folder/upper,workdir=/run/over$folder/work overlay $folder
    done
    mount --bind /run/units /usr/lib/systemd/system`;
  host.must(['sh', '-c', script]);
}
