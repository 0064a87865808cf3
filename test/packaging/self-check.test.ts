import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { SELF_CHECKS } from '#src/diagnose/installation-checks.ts';
import { builtPackages, noPackages } from '../support/packages.ts';
import { ThrowawayRoot } from '../support/throwaway-root.ts';

/*
 *   this machine's files ── overlay in memory ── the faults are made here, with the ordinary commands
 *                                                weft self-check names each, and what it says mends it
 */
const ROOT = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const skip = process.getuid?.() !== 0 && 'needs root';

interface Fault {
  readonly id: string;
  readonly make: string;
  /** What the finding says. */
  readonly what: RegExp;
  /** Mends it. Without it the finding's own remedy is run, up to a semicolon or a word that is no command. */
  readonly mend?: string;
  /** What is there before: there is nothing wrong with it. */
  readonly given?: string;
}

/** A sleep in the place of flanneld; its name is another one when the shell has become it. */
const START = `cp /bin/sleep /usr/bin/stand-in
  (exec -a flanneld /usr/bin/stand-in 1000) >/dev/null 2>&1 & echo $! > /run/pid
  until grep -qx stand-in /proc/$!/comm; do :; done`;
/** Nobody waits for it, so that its entry in /proc stays; what it was does not. */
const END = 'kill $(cat /run/pid); while readlink /proc/$(cat /run/pid)/exe >/dev/null; do :; done';
const FLANNELD = `mkdir -p /usr/lib/systemd/system /etc/systemd/system/multi-user.target.wants
  cp ${ROOT}/packaging/systemd/flanneld.service /usr/lib/systemd/system/`;
const ENABLE = `${FLANNELD}; ln -sf /usr/lib/systemd/system/flanneld.service /etc/systemd/system/multi-user.target.wants/`;
const DOCKER = `printf '[Service]\\nExecStart=/usr/sbin/dockerd -H fd:// $DOCKER_OPTS\\n' > /usr/lib/systemd/system/docker.service`;
const DROP_IN = 'printf "[Service]\\nExecStart=\\nExecStart=dockerd \\$DOCKER_NETWORK_OPTIONS\\n"';
/** The program is in the unit, as far as /proc shows it. */
const IN_UNIT =
  'echo 0::/system.slice/flanneld.service > /run/cgroup; mount --bind /run/cgroup /proc/$(cat /run/pid)/cgroup';
const OUT_OF_UNIT = 'umount /proc/$(cat /run/pid)/cgroup';

const PACKAGE = `set -e; mkdir -p /run/p/DEBIAN /run/p${ROOT} /run/p/usr/share/weft
  printf 'Package: weft\\nVersion: 1.2.3\\nArchitecture: all\\nMaintainer: a <a@example.org>\\nDescription: a\\n' > /run/p/DEBIAN/control
  echo text > /run/p/usr/share/weft/file; (cd /run/p && md5sum usr/share/weft/file > DEBIAN/md5sums)
  dpkg-deb --build /run/p /run/weft.deb >/dev/null; dpkg --install /run/weft.deb >/dev/null`;
const CERTIFICATE = (
  days: string,
) => `set -e; mkdir -p /etc/weft; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \\
  -subj /CN=a ${days} -keyout /etc/weft/key.pem -out /etc/weft/cert.pem 2>/dev/null; chmod 600 /etc/weft/key.pem
  printf 'FLANNELD_ETCD_CERTFILE=/etc/weft/cert.pem\\nFLANNELD_ETCD_KEYFILE=/etc/weft/key.pem\\n' > /etc/weft/flanneld.conf`;

const FAULTS: readonly Fault[] = [
  {
    id: 'package-files',
    given: PACKAGE,
    make: 'echo more >> /usr/share/weft/file',
    what: /^Files of the package weft are missing or changed: \/usr\/share\/weft\/file\.$/,
    mend: 'dpkg --install /run/weft.deb',
  },
  {
    id: 'package-files',
    given: PACKAGE,
    make: 'rm /usr/share/weft/file',
    what: /changed: \/usr\/share\/weft\/file\.$/,
    mend: 'dpkg --install /run/weft.deb',
  },
  {
    id: 'program-shadowed',
    given: `ln -s ${ROOT}/bin/flanneld ${ROOT}/bin/mk-docker-opts /usr/local/bin/`,
    make: 'cp /bin/true /usr/local/sbin/flanneld',
    what: /^\/usr\/local\/sbin\/flanneld comes first, and not the program of /,
    mend: 'rm /usr/local/sbin/flanneld',
  },
  {
    id: 'program-missing',
    make: 'rm /usr/local/bin/mk-docker-opts',
    what: /^There is no mk-docker-opts in the path of units\.$/,
  },
  {
    id: 'secret-readable',
    given: 'install -D -m 600 /dev/stdin /etc/weft/flanneld.conf <<< "FLANNELD_ETCD_PASSWORD=x"',
    make: 'chmod 644 /etc/weft/flanneld.conf',
    what: /^Others can read \/etc\/weft\/flanneld\.conf \(0644\), which has a password\.$/,
  },
  {
    id: 'secret-readable',
    given: 'install -D -m 600 /dev/null /etc/weft/store-key.pem',
    make: 'chmod 640 /etc/weft/store-key.pem',
    what: /store-key\.pem \(0640\), which has a private key\.$/,
  },
  {
    id: 'settings-owner',
    given: 'install -D -m 644 /dev/stdin /etc/weft/store.conf <<< "WEFT_STORE_LISTEN=127.0.0.1:1"',
    make: 'chown nobody /etc/weft/store.conf; chmod 664 /etc/weft/store.conf',
    what: /write \/etc\/weft\/store\.conf \(owner 65534, 0664\)\.$/,
  },
  {
    id: 'settings-twice',
    given: 'install -D -m 600 /dev/stdin /etc/weft/flanneld.conf <<< "FLANNELD_IP_MASQ=true"',
    make: 'install -D -m 600 /dev/stdin /etc/default/flanneld <<< "FLANNELD_IP_MASQ=false"',
    what: /^\/etc\/default\/flanneld and \/etc\/weft\/flanneld\.conf have different values of FLANNELD_IP_MASQ\.$/,
    mend: 'rm /etc/default/flanneld',
  },
  {
    id: 'state-folder',
    given: 'mkdir -p /var/lib/weft',
    make: 'chmod 777 /var/lib/weft',
    what: /^Others than root can write into \/var\/lib\/weft \(owner 0, 0777\)\.$/,
  },
  {
    id: 'state-folder',
    given: 'mkdir -p /var/lib/weft; install -m 600 /dev/null /var/lib/weft/network-000000000001.json',
    make: 'chmod 644 /var/lib/weft/network-000000000001.json',
    what: /^Others than root can use network-000000000001\.json in /,
  },
  {
    id: 'state-disk-full',
    given: 'mkdir -p /var/lib/weft; mount -t tmpfs -o size=32m tmpfs /var/lib/weft',
    make: 'head -c 30M /dev/zero > /var/lib/weft/big',
    what: /^\/var\/lib\/weft has \d+ KiB left\.$/,
    mend: 'rm /var/lib/weft/big',
  },
  {
    id: 'state-disk-full',
    given: 'mkdir -p /var/lib/weft; umount /var/lib/weft; mount -t tmpfs -o nr_inodes=40 tmpfs /var/lib/weft',
    make: 'touch /var/lib/weft/file-{1..30}',
    what: /can take \d more files\.$/,
    mend: 'rm /var/lib/weft/file-*; umount /var/lib/weft',
  },
  {
    id: 'tls-files',
    given: CERTIFICATE('-days 30'),
    make: 'openssl genpkey -algorithm ed25519 -out /etc/weft/key.pem',
    what: /^The TLS files can't be used: .*key\.pem is not the key of /,
    mend: CERTIFICATE('-days 30'),
  },
  {
    id: 'tls-files',
    given: CERTIFICATE('-days 30'),
    make: CERTIFICATE('-days 3'),
    what: /^The certificate in \/etc\/weft\/cert\.pem ends in 2 days/,
    mend: CERTIFICATE('-days 30'),
  },
  {
    id: 'sysctls-not-applied',
    given: `${START}; echo net.ipv4.ip_forward = 1 > /etc/sysctl.d/60-weft.conf; sysctl -q -p /etc/sysctl.d/60-weft.conf`,
    make: 'sysctl -q -w net.ipv4.ip_forward=0',
    what: /60-weft\.conf says: net\.ipv4\.ip_forward is 0 and not 1\.$/,
  },
  {
    id: 'modules-not-loaded',
    // The flanneld of the fault before still runs.
    given: 'mkdir -p /lib/modules/$(uname -r); echo kernel/vxlan.ko: > /lib/modules/$(uname -r)/modules.dep',
    make: 'echo weft_no_such_module > /etc/modules-load.d/weft.conf',
    what: /names: weft_no_such_module\.$/,
    mend: `rm /etc/modules-load.d/weft.conf; ${END}`,
  },
  {
    id: 'filter-program-missing',
    make: `mkdir /run/away; for name in nft iptables; do for folder in /usr/sbin /usr/bin /sbin /bin; do
      if [ -e $folder/$name ]; then mv $folder/$name /run/away/$name; fi; done; done`,
    what: /^There is neither nft nor iptables/,
    mend: 'mv /run/away/* /usr/sbin/',
  },
  {
    id: 'other-flannel-enabled',
    given: 'printf "[Service]\\nExecStart=/usr/bin/flannel\\n" > /usr/lib/systemd/system/flannel.service',
    make: 'mkdir -p /etc/systemd/system/multi-user.target.wants && ln -s /usr/lib/systemd/system/flannel.service $_/',
    what: /^flannel\.service is enabled/,
    mend: 'rm /etc/systemd/system/*/flannel.service',
  },
  {
    id: 'unit-hidden',
    given: FLANNELD,
    make: 'cp /usr/lib/systemd/system/flanneld.service /etc/systemd/system/',
    what: /^\/etc\/systemd\/system\/flanneld\.service hides \/usr\/lib\/systemd\/system\/flanneld\.service\.$/,
    mend: 'rm /etc/systemd/system/flanneld.service',
  },
  {
    id: 'unit-not-enabled',
    given: `${ENABLE}; ${START}; ${IN_UNIT}`,
    make: 'rm /etc/systemd/system/multi-user.target.wants/flanneld.service',
    what: /^flanneld\.service runs and is not enabled\.$/,
    mend: `ln -s /usr/lib/systemd/system/flanneld.service /etc/systemd/system/multi-user.target.wants/
      ${OUT_OF_UNIT}; ${END}`,
  },
  {
    id: 'daemon-version',
    given: START,
    make: 'rm /usr/bin/stand-in',
    what: /^The program of the flanneld that runs \(process \d+\) was replaced\.$/,
    mend: END,
  },
  {
    id: 'daemon-capabilities',
    make: `cp /bin/sleep /usr/bin/flanneld
      setpriv --bounding-set=-net_raw /usr/bin/flanneld 1000 >/dev/null 2>&1 & echo $! > /run/pid
      until grep -qx flanneld /proc/$!/comm; do :; done`,
    what: /^flanneld \(process \d+\) runs without CAP_NET_RAW\.$/,
    mend: `${END}; rm /usr/bin/flanneld`,
  },
  {
    id: 'daemon-unfiltered',
    given: `${ENABLE}; echo SystemCallFilter=@system-service >> /usr/lib/systemd/system/flanneld.service`,
    make: START,
    what: /^flanneld \(process \d+\) runs outside of flanneld\.service, without its filter/,
    mend: END,
  },
  {
    id: 'docker-unit-options',
    given: `${ENABLE}; ${DOCKER}; mkdir -p /run/systemd/generator/docker.service.d
      ${DROP_IN} > /run/systemd/generator/docker.service.d/zz-weft-flannel.conf`,
    make: 'rm /run/systemd/generator/docker.service.d/zz-weft-flannel.conf',
    what: /^flanneld\.service is enabled, and the ExecStart= of docker\.service has no \$DOCKER_NETWORK_OPTIONS\.$/,
    mend: `${DROP_IN} > /run/systemd/generator/docker.service.d/zz-weft-flannel.conf`,
  },
  {
    id: 'docker-options-refused',
    given: `${DOCKER}; mkdir -p /etc/docker; echo '{}' > /etc/docker/daemon.json`,
    make: `echo '{ "bip": "172.30.0.1/16", "dns": [] }' > /etc/docker/daemon.json`,
    what: /^bip is in \/etc\/docker\/daemon\.json: with the options of flanneld Docker does not start\.$/,
    mend: `echo '{}' > /etc/docker/daemon.json`,
  },
  {
    id: 'docker-drop-in-left',
    make: `mkdir -p /etc/systemd/system/docker.service.d; ${DROP_IN} > /etc/systemd/system/docker.service.d/flannel.conf`,
    what: /^\/etc\/systemd\/system\/docker\.service\.d\/flannel\.conf is from before weft-generator/,
    mend: 'rm /etc/systemd/system/docker.service.d/flannel.conf',
  },
  {
    id: 'plugin-socket-left',
    make: `mkdir -p /run/docker/plugins; python3 -c "import socket; socket.socket(1).bind('/run/docker/plugins/weft.sock')"`,
    what: /^Nobody listens on \/run\/docker\/plugins\/weft\.sock\.$/,
    mend: 'rm /run/docker/plugins/weft.sock',
  },
  {
    id: 'docker-json',
    given: `mkdir -p /etc/docker; cp /bin/sleep /run/dockerd; /run/dockerd 1000 >/dev/null 2>&1 & echo $! > /run/pid
      until grep -qx dockerd /proc/$!/comm; do :; done
      echo '{}' > /etc/docker/daemon.json`,
    make: 'echo "{bip: 1" > /etc/docker/daemon.json',
    what: /daemon\.json can't be read/,
    mend: `echo '{}' > /etc/docker/daemon.json; ${END}`,
  },
];

interface Report {
  readonly findings: readonly { readonly id: string; readonly what: string; readonly remedy: string }[];
  readonly unknown: readonly unknown[];
}

/** What `weft self-check` says, of one check or of all. */
function look(
  root: ThrowawayRoot,
  only?: string,
  weft = `${ROOT}/bin/weft`,
): { readonly code: number | null; readonly report: Report } {
  const words = ['self-check', '--json', ...(only === undefined ? [] : [`--only=${only}`])];
  const { code, stdout, stderr } = root.run(`exec ${weft} "$@"`, ...words);
  assert.equal(stderr, '');
  return { code, report: JSON.parse(stdout) as Report };
}

/** The command of a remedy, without what is said after it. */
const commandOf = (remedy: string): string => remedy.split(/; |, |: /)[0] ?? '';

const idsOf = ({ findings }: Report): string[] => findings.map(({ id }) => id);

test('every check finds its fault, and the fault is gone when it is mended', { skip }, async (t) => {
  assert.deepEqual(
    SELF_CHECKS.map(({ id }) => id).filter((id) => !FAULTS.some((fault) => fault.id === id)),
    [],
    'a check without a fault',
  );
  const root = await ThrowawayRoot.make(t);
  for (const fault of FAULTS) await t.test(`${fault.id}: ${fault.what.source}`, () => tryFault(root, fault));
  // Nothing of what was mended is left over.
  const { code, report } = look(root);
  assert.deepEqual([code, report.findings, report.unknown], [0, [], []]);
});

function tryFault(root: ThrowawayRoot, { id, given, make, what, mend }: Fault): void {
  if (given !== undefined) root.must(given);
  root.must(make);
  const { code, report } = look(root, id);
  assert.deepEqual([code, idsOf(report)], [1, [id]]);
  const [finding] = report.findings;
  assert.match(finding?.what ?? '', what);
  root.must(mend ?? commandOf(finding?.remedy ?? ''));
  // What was given is there again, or gone too: the fault alone was the reason.
  const after = look(root, id);
  assert.deepEqual([after.code, idsOf(after.report)], [0, []], 'after the mending');
}

test('doctor says the same, and self-check in words', { skip }, async (t: TestContext) => {
  const root = await ThrowawayRoot.make(t);
  root.must('install -D -m 644 /dev/stdin /etc/weft/flanneld.conf <<< "FLANNELD_ETCD_PASSWORD=x"');
  const words = /✗ secret-readable: Others can read \/etc\/weft\/flanneld\.conf/;
  const own = root.run(`${ROOT}/bin/weft self-check`);
  assert.equal(own.code, 1);
  assert.match(own.stdout, words);
  assert.match(own.stdout, /^ {2}mend: chmod 600 \/etc\/weft\/flanneld\.conf$/m);
  assert.match(own.stdout, /^\d+ checks, 1 wrong, 0 could not look$/m);
  const doctor = root.run(`${ROOT}/bin/weft doctor`);
  assert.equal(doctor.code, 1);
  assert.match(doctor.stdout, words);
});

test('the package is right as it is installed, and a lost name of the executable is found', {
  skip: skip || noPackages(),
}, async (t) => {
  const [{ deb }, root] = await Promise.all([builtPackages(), ThrowawayRoot.make(t)]);
  root.must('dpkg --install --force-depends "$1" >/dev/null', deb);
  const weft = '/usr/bin/weft';
  const { code, report } = look(root, undefined, weft);
  assert.deepEqual([code, report.findings, report.unknown], [0, [], []]);
  const version = JSON.parse(root.must(`${weft} version --json`));
  assert.match(version.commit, /^[0-9a-f]{40}/);
  assert.deepEqual(version.installed, { as: 'executable', path: weft });
  assert.match(version.runtime.koffi, /^\d/);
  root.must('rm /usr/bin/flanneld');
  const [finding] = look(root, 'program-missing', weft).report.findings;
  root.must(finding?.remedy ?? '');
  assert.deepEqual(look(root, undefined, weft).code, 0);
  root.must('echo more >> /usr/lib/systemd/system/flanneld.service');
  assert.deepEqual(idsOf(look(root, undefined, weft).report), ['package-files']);
});
