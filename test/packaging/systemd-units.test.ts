import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { STORE_ENVIRONMENT, STORE_FLAGS } from '#src/cli/store-flags.ts';
import { PASSED_NAME, PLUGIN_SOCKET } from '#src/driver/plugin-socket.ts';
import { type FlagTable, variableOf } from '#src/lib/go-flags.ts';
import { ENVIRONMENT_PREFIX, FLANNELD_FLAGS } from '#src/node/flanneld-flags.ts';
import { scratchFolder } from '../support/scratch-folder.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const UNITS = join(ROOT, 'packaging/systemd');

const runs = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const skip = !runs('systemd-analyze') && 'systemd-analyze is not installed';

/** Units as a host has them: ours with their drop-ins, and Docker's own. */
interface Units {
  /** Changes the text of each of our files. */
  readonly edit?: (text: string) => string;
  /** With Docker's network driver. */
  readonly driver?: boolean;
  readonly fastPath?: boolean;
}

/** Where a unit names a program that the machine of a test may lack. */
const PROGRAMS = /^(Exec\w+=-?(?:env -u \w+ )?)(?=flanneld |mk-docker-opts |weft |dockerd )/gm;

/** What `systemd-analyze verify` says about the unit; programs are replaced by ones that exist. */
const verify = (unit: string, units?: Units): string[] =>
  withUnits(units, (folder) => {
    const analyze = ['verify', '--man=no', join(folder, unit)];
    const { status, stderr } = spawnSync('systemd-analyze', analyze, { encoding: 'utf8' });
    const said = stderr.split('\n').filter((line) => /flannel|docker/.test(line));
    return status === 0 || said.length > 0 ? said : stderr.split('\n');
  });

function withUnits<T>(
  { edit = (text) => text, driver = false, fastPath = false }: Units = {},
  look: (folder: string) => T,
): T {
  const folder = mkdtempSync(join(tmpdir(), 'systemd-units-'));
  try {
    mkdirSync(join(folder, 'bin'));
    for (const program of ['flanneld', 'weft', 'mk-docker-opts', 'dockerd']) {
      writeFileSync(join(folder, 'bin', program), '#!/bin/sh\n', { mode: 0o755 });
    }
    const copy = (name: string): void => {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      const text = edit(readFileSync(join(UNITS, name), 'utf8'))
        // Of programs without a path, it asks for those of this machine.
        .replaceAll(PROGRAMS, `$1${folder}/bin/`);
      writeFileSync(join(folder, name), text);
    };
    copy('flanneld.service');
    copy('weft-store.service');
    writeFileSync(join(folder, 'docker.service'), '[Service]\nType=notify\nExecStart=/bin/false\n');
    copy('docker.service.d/flannel.conf');
    if (fastPath) copy('flanneld.service.d/weft-fast-path.conf');
    if (driver) {
      copy('weft-docker.socket');
      copy('weft-namespace.service');
      copy('docker.service.d/weft-driver.conf');
      copy('flanneld.service.d/weft-driver.conf');
    }
    return look(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('systemd finds nothing wrong with flanneld.service, the store’s and the drop-in for Docker', {
  skip,
}, () => {
  for (const unit of ['flanneld.service', 'weft-store.service', 'docker.service'])
    assert.deepEqual(verify(unit), [], unit);
});

test('systemd finds nothing wrong with the units of Docker’s network driver', { skip }, () => {
  for (const unit of ['weft-docker.socket', 'weft-namespace.service', 'flanneld.service', 'docker.service'])
    assert.deepEqual(verify(unit, { driver: true }), [], unit);
});

test('systemd finds nothing wrong with the drop-in for the fast path', { skip }, () => {
  assert.deepEqual(verify('flanneld.service', { fastPath: true }), []);
});

test('flanneld may enter network namespaces, and no others, with Docker’s network driver only', {
  skip,
}, () => {
  const allowed = (units: Units): string[] =>
    withUnits(units, (folder) => {
      const analyze = ['security', '--offline=yes', '--json=short', join(folder, 'flanneld.service')];
      const { stdout } = spawnSync('systemd-analyze', analyze, { encoding: 'utf8' });
      const rows = JSON.parse(stdout) as { name: string; set: boolean | null }[];
      const wanted = /^RestrictNamespaces=~|CAP_SYS_ADMIN$/;
      return rows
        .filter(({ name, set }) => wanted.test(name) && set === false)
        .map(({ name }) => name)
        .sort();
    });
  assert.deepEqual(allowed({}), []);
  assert.deepEqual(allowed({ driver: true }), [
    'CapabilityBoundingSet=~CAP_SYS_ADMIN',
    'RestrictNamespaces=~net',
  ]);
});

test('no unit is more exposed than the guide says', { skip }, (t) => {
  if (spawnSync('systemd-analyze', ['security', '--offline=yes', '--help']).status !== 0)
    return t.skip('this systemd-analyze is older than 250');
  const guide = readFileSync(join(ROOT, 'docs/guides/systemd.md'), 'utf8');
  const rows = [
    ...guide.matchAll(/^\| `([\w-]+\.service)`(, with the (?:driver|fast path))? \| (\d+\.\d) \|/gm),
  ];
  assert.deepEqual(
    rows.map(([, unit, more]) => `${unit}${more ?? ''}`),
    [
      'flanneld.service',
      'flanneld.service, with the driver',
      'flanneld.service, with the fast path',
      'weft-store.service',
      'weft-namespace.service',
    ],
  );
  for (const [row, unit = '', more = '', figure] of rows) {
    const driver = more.endsWith('driver') || unit === 'weft-namespace.service';
    withUnits({ driver, fastPath: more.endsWith('fast path') }, (folder) => {
      const words = ['security', '--offline=yes', '--no-pager', join(folder, unit)];
      const { stdout } = spawnSync('systemd-analyze', words, { encoding: 'utf8' });
      const exposure = /exposure level for .*: (\d+\.\d)/.exec(stdout)?.[1];
      assert.ok(Number(exposure) <= Number(figure), `${row}: it is ${exposure}`);
    });
  }
});

test('systemd would find a wrong key, a missing program and a second ExecStart', { skip }, () => {
  assert.notDeepEqual(
    verify('flanneld.service', { edit: (text) => text.replace('Restart=', 'Restarts=') }),
    [],
  );
  assert.notDeepEqual(
    verify('flanneld.service', {
      edit: (text) => text.replace('ExecStart=flanneld', 'ExecStart=/nonexistent'),
    }),
    [],
  );
  assert.notDeepEqual(verify('docker.service', { edit: (text) => text.replace('ExecStart=\n', '') }), []);
});

test('flanneld.service has all that the guide promises', () => {
  const unit = readFileSync(join(UNITS, 'flanneld.service'), 'utf8');
  for (const line of [
    'Before=docker.service',
    'Type=notify',
    'Restart=always',
    'WatchdogSec=30',
    'RuntimeDirectoryPreserve=yes',
  ]) {
    assert.ok(unit.split('\n').includes(line), line);
  }
  assert.doesNotMatch(unit, /^ProtectKernelModules|^ProcSubset|^MemoryDenyWriteExecute|^PrivateNetwork/m);
});

test('each variable of the example settings is a flag', () => {
  const variablesOf = (name: string): string[] =>
    readFileSync(join(ROOT, 'packaging', name), 'utf8').match(/(?<=^#?)[A-Z_]+(?==)/gm) ?? [];
  const known = (prefix: string, table: FlagTable): Set<string> =>
    new Set(Object.keys(table).map((flag) => variableOf(prefix, flag)));
  const daemon = known(ENVIRONMENT_PREFIX, FLANNELD_FLAGS).add('FLANNELD_OPTIONS');
  const store = known(STORE_ENVIRONMENT, STORE_FLAGS.serve);
  for (const [name, flags] of [
    ['flanneld.conf', daemon],
    ['store.conf', store],
  ] as const) {
    assert.ok(variablesOf(name).length > 5, name);
    assert.deepEqual(
      variablesOf(name).filter((variable) => !flags.has(variable)),
      [],
      name,
    );
  }
});

test('the drop-in’s options for Docker stay the same however often Docker starts', (t) => {
  const text = readFileSync(join(UNITS, 'docker.service.d/flannel.conf'), 'utf8');
  const command = /^ExecStartPre=-(.*)$/m.exec(text)?.[1] ?? '';
  assert.match(command, /^env -u DOCKER_NETWORK_OPTIONS mk-docker-opts /);
  const folder = scratchFolder(t);
  const [input, output] = [join(folder, 'subnet.env'), join(folder, 'docker')];
  writeFileSync(input, 'FLANNEL_SUBNET=10.5.26.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n');
  const run = command.replace('/run/flannel/docker', `${output} -f ${input}`);
  const start = (): string => {
    // systemd reads EnvironmentFile= before each command.
    const PATH = `${join(ROOT, 'bin')}:${process.env.PATH}`;
    const env = { ...process.env, PATH, ...(existsSync(output) && parseEnv(readFileSync(output, 'utf8'))) };
    const { status, stderr } = spawnSync('/bin/sh', ['-c', run], { env, encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
    return readFileSync(output, 'utf8');
  };
  const first = start();
  assert.match(first, /^DOCKER_NETWORK_OPTIONS=".*--bip=10\.5\.26\.1\/24 .*"$/m);
  assert.equal(start(), first);
});

test('systemd holds the socket where dockerd looks for it, under the name that flanneld looks for', () => {
  const lines = readFileSync(join(UNITS, 'weft-docker.socket'), 'utf8').split('\n');
  for (const line of [
    `ListenStream=${PLUGIN_SOCKET}`,
    `FileDescriptorName=${PASSED_NAME}`,
    'RemoveOnStop=yes',
  ])
    assert.ok(lines.includes(line), line);
});
