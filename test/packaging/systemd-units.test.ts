import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { scratchFolder } from '../support/scratch-folder.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const UNITS = join(ROOT, 'packaging/systemd');

const runs = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const skip = !runs('systemd-analyze') && 'systemd-analyze is not installed';

/** What `systemd-analyze verify` says about the unit, after `edit`; paths of ours are replaced by ones that exist. */
function verify(unit: string, edit: (text: string) => string = (text) => text): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'systemd-units-'));
  try {
    mkdirSync(join(folder, 'bin'));
    for (const program of ['flanneld', 'mk-docker-opts', 'dockerd']) {
      writeFileSync(join(folder, 'bin', program), '#!/bin/sh\n', { mode: 0o755 });
    }
    const copy = (name: string): void => {
      mkdirSync(dirname(join(folder, name)), { recursive: true });
      const text = edit(readFileSync(join(UNITS, name), 'utf8'))
        .replaceAll('/opt/weft/bin/', `${folder}/bin/`)
        .replace('ExecStart=dockerd', `ExecStart=${folder}/bin/dockerd`);
      writeFileSync(join(folder, name), text);
    };
    copy('flanneld.service');
    if (unit === 'docker.service') {
      writeFileSync(join(folder, unit), '[Service]\nType=notify\nExecStart=/bin/false\n');
      copy('docker.service.d/flannel.conf');
    }
    const { status, stderr } = spawnSync('systemd-analyze', ['verify', '--man=no', join(folder, unit)], {
      encoding: 'utf8',
    });
    const said = stderr.split('\n').filter((line) => /flannel|docker/.test(line));
    return status === 0 || said.length > 0 ? said : stderr.split('\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('systemd finds nothing wrong with flanneld.service', { skip }, () => {
  assert.deepEqual(verify('flanneld.service'), []);
});

test('systemd finds nothing wrong with the drop-in for Docker', { skip }, () => {
  assert.deepEqual(verify('docker.service'), []);
});

test('systemd would find a wrong key, a missing program and a second ExecStart', { skip }, () => {
  assert.notDeepEqual(
    verify('flanneld.service', (text) => text.replace('Restart=', 'Restarts=')),
    [],
  );
  assert.notDeepEqual(
    verify('flanneld.service', (text) => text.replace('/opt/weft/bin/flanneld', '/nonexistent')),
    [],
  );
  assert.notDeepEqual(
    verify('docker.service', (text) => text.replace('ExecStart=\n', '')),
    [],
  );
});

test('flanneld.service has all that the guide promises', () => {
  const unit = readFileSync(join(UNITS, 'flanneld.service'), 'utf8');
  for (const line of [
    'Before=docker.service',
    'Type=notify',
    'Restart=always',
    'RuntimeDirectoryPreserve=yes',
  ]) {
    assert.ok(unit.split('\n').includes(line), line);
  }
  assert.doesNotMatch(unit, /^ProtectKernelTunables|^MemoryDenyWriteExecute|^PrivateNetwork/m);
});

test('the drop-in’s options for Docker stay the same however often Docker starts', (t) => {
  const text = readFileSync(join(UNITS, 'docker.service.d/flannel.conf'), 'utf8');
  const command = /^ExecStartPre=-(.*)$/m.exec(text)?.[1] ?? '';
  assert.match(command, /^\/usr\/bin\/env -u DOCKER_NETWORK_OPTIONS \/opt\/weft\/bin\/mk-docker-opts /);
  const folder = scratchFolder(t);
  const [input, output] = [join(folder, 'subnet.env'), join(folder, 'docker')];
  writeFileSync(input, 'FLANNEL_SUBNET=10.5.26.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n');
  const run = command.replace('/opt/weft', ROOT).replace('/run/flannel/docker', `${output} -f ${input}`);
  const start = (): string => {
    // systemd reads EnvironmentFile= before each command.
    const env = { ...process.env, ...(existsSync(output) && parseEnv(readFileSync(output, 'utf8'))) };
    const { status, stderr } = spawnSync('/bin/sh', ['-c', run], { env, encoding: 'utf8' });
    assert.deepEqual([status, stderr], [0, '']);
    return readFileSync(output, 'utf8');
  };
  const first = start();
  assert.match(first, /^DOCKER_NETWORK_OPTIONS=".*--bip=10\.5\.26\.1\/24 .*"$/m);
  assert.equal(start(), first);
});
