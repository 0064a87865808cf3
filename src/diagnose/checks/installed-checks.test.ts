import assert from 'node:assert/strict';
import { test } from 'node:test';
import { absentFact, knownFact, unknownFact } from '#src/diagnose/facts/fact.ts';
import type { InstallationFacts } from '#src/diagnose/installation/installation.ts';
import type { RunningFlanneld } from '#src/diagnose/installation/running-flanneld.ts';
import type { UnitSeen } from '#src/diagnose/installation/units-seen.ts';
import { SELF_CHECKS } from '#src/diagnose/installation-checks.ts';
import { judge } from '#src/diagnose/run-checks.ts';

/*
 * A host as the package leaves it, as values. test/packaging/self-check.test.ts makes the faults for real; here is what it
 * can't: time, another version, the filter of system calls.
 */
const DAY = 86_400_000;
const FLANNELD: RunningFlanneld = {
  ...{ pid: 7, isReplaced: false, missing: [], isFiltered: true, unit: 'flanneld.service' },
};
const unit = (name: string, changes: Partial<UnitSeen> = {}): UnitSeen => ({
  ...{ name, paths: [`/usr/lib/systemd/system/${name}`], isEnabled: true, dropIns: [], text: '' },
  ...changes,
});
const UNITS = [
  unit('flanneld.service', { text: '[Service]\nSystemCallFilter=@system-service\n' }),
  unit('docker.service', {
    text: 'ExecStart=/usr/bin/dockerd $DOCKER_NETWORK_OPTIONS',
    dropIns: ['/run/systemd/generator/docker.service.d/zz-weft-flannel.conf'],
  }),
];
const unitsOf = (units: readonly UnitSeen[]) => knownFact(new Map(units.map((one) => [one.name, one])));

const healthy = (changes: Partial<InstallationFacts> = {}): InstallationFacts => ({
  version: '1.2.3',
  installed: { as: 'executable', path: '/usr/bin/weft' },
  package: knownFact({ manager: 'dpkg', name: 'weft', version: '1.2.3', changed: [] }),
  programs: [{ name: 'flanneld', path: '/usr/bin/flanneld', isOurs: true }],
  settings: [{ path: '/etc/weft/flanneld.conf', mode: 0o600, uid: 0, secret: 'a password' }],
  settingsTwice: [],
  state: knownFact({ path: '/var/lib/weft', mode: 0o755, uid: 0, freeBytes: 1 << 30, open: [] }),
  flanneld: knownFact(FLANNELD),
  runningVersion: '1.2.3',
  certificates: knownFact({ ends: [{ path: '/c.pem', from: 0, until: 100 * DAY }] }),
  kernel: { sysctls: [], modules: [] },
  filters: ['nftables v1.0.6'],
  units: unitsOf(UNITS),
  dockerd: absentFact('no Docker'),
  dockerOptions: [],
  plugin: { path: '/run/docker/plugins/weft.sock', isThere: true, isServed: true },
  now: DAY,
  ...changes,
});
const findings = (changes: Partial<InstallationFacts>) =>
  judge(healthy(changes), SELF_CHECKS).findings.map(({ id, what }) => `${id}: ${what}`);

test('nothing is wrong with what is right, and nothing is unknown', () => {
  const { findings, unknown } = judge(healthy(), SELF_CHECKS);
  assert.deepEqual([findings, unknown], [[], []]);
});

test('an upgrade without a restart is found by the version that answers', () => {
  assert.deepEqual(findings({ runningVersion: '1.2.2' }), [
    'daemon-version: flanneld 1.2.2 runs, and 1.2.3 is installed.',
  ]);
});

test('bip and mtu in the file of a Docker that is down, or not yet restarted, keep it from a start', () => {
  const said = [
    'docker-options-refused: bip is in /etc/docker/daemon.json: with the options of flanneld Docker does not start.',
  ];
  const dockerOptions = ['bip', 'dns'];
  assert.deepEqual(findings({ dockerOptions }), said);
  const [flanneld, docker] = UNITS as [UnitSeen, UnitSeen];
  const disabled = { ...flanneld, isEnabled: false };
  const plain = { ...docker, text: 'ExecStart=/usr/bin/dockerd', dropIns: [] };
  const before = { units: unitsOf([disabled, plain]), flanneld: absentFact('it does not run') };
  assert.deepEqual(findings({ dockerOptions, ...before }), said);
  // Such a Docker gets nothing of flanneld's: that is another finding.
  assert.doesNotMatch(findings({ dockerOptions, units: unitsOf([flanneld, plain]) }).join(), /refused/);
  assert.deepEqual(findings({ dockerOptions: ['dns'] }), []);
});

test('names that are missing are made where units look', () => {
  const remedy = (installed: InstallationFacts['installed']): string | undefined => {
    const programs = [{ name: 'flanneld', path: undefined, isOurs: false }];
    const one = { name: 'mk-docker-opts', path: '/usr/local/bin/mk-docker-opts', isOurs: true };
    return judge(healthy({ installed, programs: [...programs, one] }), SELF_CHECKS).findings[0]?.remedy;
  };
  assert.equal(remedy({ as: 'executable', path: '/usr/bin/weft' }), 'ln -s weft /usr/bin/flanneld');
  assert.equal(
    remedy({ as: 'executable', path: '/opt/weft/weft' }),
    'ln -s /opt/weft/weft /usr/local/bin/flanneld',
  );
  assert.equal(remedy({ as: 'checkout', path: '/opt/src' }), 'ln -s /opt/src/bin/flanneld /usr/local/bin/');
});

test('certificates: not valid yet, nearly over, over', () => {
  const of = (from: number, until: number) =>
    findings({ certificates: knownFact({ ends: [{ path: '/c.pem', from, until }] }) }).join();
  assert.match(
    of(2 * DAY, 100 * DAY),
    /^tls-files: The certificate in \/c\.pem is not valid before 1970-01-03/,
  );
  assert.match(of(0, 14 * DAY), /ends in 13 days/);
  assert.equal(of(0, 15 * DAY), '');
  assert.match(of(0, DAY - 1), /has ended \(1970-01-01/);
});

test('a flanneld in its unit without the filter that the unit has', () => {
  const flanneld = knownFact({ ...FLANNELD, isFiltered: false });
  assert.match(
    findings({ flanneld }).join(),
    /^daemon-unfiltered: .* without the filter that flanneld\.service has/,
  );
  // A unit without a filter asks for none.
  const units = unitsOf([unit('flanneld.service')]);
  assert.deepEqual(findings({ flanneld, units }), []);
});

test("Docker's options in Debian's own unit, which nobody sets, are not taken for ours", () => {
  const docker = unit('docker.service', { text: 'ExecStart=/usr/sbin/dockerd $DOCKER_OPTS' });
  const [flanneld] = UNITS;
  const units = unitsOf([...(flanneld ? [flanneld] : []), docker]);
  assert.match(findings({ units }).join(), /^docker-unit-options: /);
  const dropIns = ['/etc/systemd/system/docker.service.d/own.conf'];
  assert.deepEqual(
    findings({ units: unitsOf([...(flanneld ? [flanneld] : []), { ...docker, dropIns }]) }),
    [],
  );
});

test('what could not be looked at is said, and what is not there is not', () => {
  const { unknown } = judge(healthy({ flanneld: unknownFact('no right') }), SELF_CHECKS);
  assert.deepEqual(
    unknown.map(({ id }) => id),
    ['unit-not-enabled', 'daemon-version', 'daemon-capabilities', 'daemon-unfiltered'],
  );
  const nothing = {
    units: absentFact('no systemd'),
    flanneld: absentFact('none runs'),
    package: absentFact('none'),
  };
  assert.deepEqual(judge(healthy(nothing), SELF_CHECKS).unknown, []);
});
